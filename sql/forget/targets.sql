-- In: a snapshot's {targets}, and the tables `users` and `items` of what stays. Out: the table `targets` of those
-- users, with the new numbers, in the order of the old ones.
CREATE TABLE targets AS
SELECT
    row_number() OVER (ORDER BY t.target) - 1 AS target,
    u."user",
    i.item,
    t.split,
    t.history
FROM read_parquet({targets}) AS t
JOIN users AS u ON u.old_user = t."user"
JOIN items AS i ON i.old_item = t.item
