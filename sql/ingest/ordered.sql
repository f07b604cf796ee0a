-- In: the relation `events`, its further {columns} that are wanted, its {order} within a user, and the tables `members`
-- and `items`. Out: the table `ordered`: every event of theirs, by user and in that order, so that a row's number less
-- the first one of its user is its position.
CREATE TABLE ordered AS
SELECT
    "user"::INTEGER AS "user",
    item::INTEGER AS item,
    first_row{columns}
FROM events
JOIN members USING (user_code)
JOIN items USING (item_code)
ORDER BY "user", {order}
