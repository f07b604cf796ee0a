-- In:  a snapshot's users.parquet; $user, a raw id that is not in it.
-- Out: user_id of the three whose raw ids differ least from it in their letters.
select user_id
from read_parquet({users})
order by levenshtein(user_id, $user), "user"
limit 3
