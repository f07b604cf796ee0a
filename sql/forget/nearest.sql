-- In: a snapshot's {users} and $id. Out: the three raw ids that differ least from $id in their letters.
SELECT user_id
FROM read_parquet({users})
ORDER BY levenshtein(user_id, $id), "user"
LIMIT 3
