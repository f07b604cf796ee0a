-- In:  a snapshot's users.parquet and interactions.parquet.
-- Out: events and train_length of every user, by user; a user without events counts 0.
select coalesce(counted.events, 0) as events, users.train_length
from read_parquet({users}) as users
left join (
    select user, count(*) as events
    from read_parquet({interactions})
    group by user
) as counted using (user)
order by users.user
