-- In: users, clean_users; whether the noise adds users. Out: one row a user who is not the clean snapshot's: one of
-- its users under another number or gone, or a further one where none is added.
select coalesce(users."user", clean."user") as "user", users.user_id, clean.user_id as user_id_in_clean
from users
full join clean_users as clean on clean."user" = users."user"
where users.user_id is distinct from clean.user_id
    and not ({adds_users} and users."user" >= (select count(*) from clean_users))
order by 1
