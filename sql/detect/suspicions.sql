-- In:  the interactions.parquet that was trained on; `judged`, one row an interaction: user, position, and a column for
--      each detector, null where it has nothing to go by.
-- Out: one row a judged interaction by user and position: user, position, item, noise (is it labelled as noise?),
--      noise_kind, and its suspicion by each detector.
select
    interactions.user,
    interactions.position,
    interactions.item,
    interactions.noise_kind is not null as noise,
    interactions.noise_kind,
    judged.* exclude (user, position)
from judged
join read_parquet({interactions}) as interactions using (user, position)
order by interactions.user, interactions.position
