-- In: the tables `histories` and `labels`; the manifest's numbers. Out: one row with what was found where the number
-- of training positions, or of those labelled as noise, differs.
select training, {training} as training_in_manifest, noisy, {noisy} as noisy_in_manifest
from (
    select
        (select coalesce(sum(train_length), 0) from histories) as training,
        (select coalesce(sum(training), 0) from labels) as noisy
)
where training <> {training} or noisy <> {noisy}
