-- In: the snapshot's {interactions} and the table `open_users`. Out: the open interactions, by user and position.
SELECT
    item,
    "time",
    noise_kind
FROM read_parquet({interactions}) AS i JOIN open_users AS o USING ("user")
WHERE position < open_length
ORDER BY i."user", position
