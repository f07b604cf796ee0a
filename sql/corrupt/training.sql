-- In: the snapshot's {interactions} and {users}. Out: one row a training position, by user and position.
SELECT
    "user",
    item,
    position
FROM read_parquet({interactions}) AS i JOIN read_parquet({users}) AS u USING ("user")
WHERE position < train_length
ORDER BY "user", position
