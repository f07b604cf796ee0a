-- In: targets (target, user, item, history), users (user, train_length).
-- Out: one row a target that lies among the user's training positions.
select targets.target, targets."user", targets.history, targets.item, users.train_length
from {batch} as targets
left join users on users."user" = targets."user"
where users.train_length is null or targets.history is null or targets.history < users.train_length
order by targets.target
