-- In: the snapshot's {targets}. Out: the distinct items that each user is ranked on, by user and item, each with
-- its place among them (from 0).
SELECT
    "user",
    item,
    row_number() OVER (PARTITION BY "user" ORDER BY item) - 1 AS place
FROM (SELECT DISTINCT "user", item FROM read_parquet({targets}))
ORDER BY "user", item
