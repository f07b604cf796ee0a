-- In: interactions (user, position, noise_kind), users (user, train_length); the kind and ratio asked for.
-- Out: one row with the realised share of that kind among the training positions where it is further from
-- the ratio than the tolerance and four standard errors of a draw of that size.
select
    {kind} as noise_kind, {ratio} as ratio_asked, noisy / nullif(positions, 0) as ratio_found,
    noisy as noisy_positions, positions as training_positions
from (
    select count(*) as positions, count(*) filter (where log.noise_kind = {kind}) as noisy
    from {batch} as log
    join users using ("user")
    where log.position < users.train_length
)
where positions > 0
    and abs(noisy / positions - {ratio}) > {tolerance} + 4 * sqrt({ratio} * (1 - {ratio}) / positions)
