-- In: the tables `interactions` and `users`. Out: the table `targets`, leave-one-out: of each ranked user the last
-- event for test and the one before it for validation; numbered by split, validation first, then by user.
CREATE TABLE targets AS
WITH chosen AS (
    SELECT
        "user",
        item,
        CASE position WHEN event_count - 1 THEN 'test' ELSE 'validation' END AS split,
        position AS history
    FROM interactions JOIN users USING ("user")
    WHERE is_ranked AND position >= event_count - 2
)
SELECT
    row_number() OVER (ORDER BY split = 'test', "user") - 1 AS target,
    "user",
    item,
    split,
    history
FROM chosen
