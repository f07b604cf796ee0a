-- In: interactions (user, position, noise_kind), users (user, train_length); the kind put in on purpose.
-- Out: one row an interaction of that kind that is no training position.
select log."user", log.position, log.item, log.noise_kind, users.train_length
from {batch} as log
join users using ("user")
where log.noise_kind = {kind} and log.position >= users.train_length
order by log."user", log.position
