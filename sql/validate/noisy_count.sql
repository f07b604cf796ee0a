-- In: interactions (user, position, noise_kind), users (user, train_length); the number of training
-- interactions labelled as noise that the manifest gives.
-- Out: one row with both numbers where they differ.
select count(log.noise_kind) as found, {expected} as manifest
from {batch} as log
join users using ("user")
where log.position < users.train_length
having count(log.noise_kind) <> {expected}
