-- In: the snapshot's {targets}. Out: the distinct items that each user is ranked on, by user and item.
SELECT DISTINCT
    "user",
    item
FROM read_parquet({targets})
ORDER BY "user", item
