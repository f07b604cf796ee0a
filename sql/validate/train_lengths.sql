-- In: users (user, train_length), interactions (user).
-- Out: one row a user whose number of training positions is negative, null or above the number of events.
select users."user", users.train_length, coalesce(log.events, 0) as events
from {batch} as users
left join (select "user", count(*) as events from interactions group by "user") as log
    on log."user" = users."user"
where users.train_length is null or users.train_length < 0
    or users.train_length > coalesce(log.events, 0)
order by users."user"
