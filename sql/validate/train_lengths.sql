-- In: the table `histories`. Out: one row a user whose number of training positions is negative, null or above the
-- number of events.
select user_id, train_length, events
from histories
where train_length is null or train_length < 0 or train_length > events
order by "user"
