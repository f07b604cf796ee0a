-- In: a snapshot's interactions.parquet. Out: one row: the events of the user who has most.
SELECT max(position) + 1 AS events
FROM read_parquet({interactions})
