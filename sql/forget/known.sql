-- In: a snapshot's {users} and $ids. Out: those of $ids that are raw ids of its users.
SELECT user_id
FROM read_parquet({users})
WHERE user_id IN (SELECT unnest($ids::VARCHAR[]))
