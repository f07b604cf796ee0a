-- In: the tables `events`, `users` and `items`. Out: the table `interactions`: every event with its position
-- within its user, by time, then by the order column, then by place in the file.
CREATE TABLE interactions AS
SELECT
    "user",
    item,
    "time",
    row_number() OVER (
        PARTITION BY "user" ORDER BY "time", order_number, order_integer, "row"
    ) - 1 AS position,
    noise_kind
FROM events
JOIN users USING (user_code)
JOIN items USING (item_code)
