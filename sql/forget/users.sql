-- In: a snapshot's {users} and $ids. Out: the table `users` without them, numbered anew from 0 in the same order;
-- `old_user` is the number that each had.
CREATE TABLE users AS
SELECT
    row_number() OVER (ORDER BY "user") - 1 AS "user",
    user_id,
    train_length,
    "user" AS old_user
FROM read_parquet({users})
WHERE user_id NOT IN (SELECT unnest($ids::VARCHAR[]))
