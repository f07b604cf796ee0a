-- In:  a snapshot's interactions.parquet.
-- Out: item, time of every event, by user and position: the flat arrays that models read.
select item, time
from read_parquet({interactions})
order by user, position
