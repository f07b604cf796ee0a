-- In:  a snapshot's targets.parquet; $split.
-- Out: user, item and history length of the split's targets, by target.
select user, item, history
from read_parquet({targets})
where split = $split
order by target
