-- In: the view `parsed`. Out: one row: the number of rows, and the first row that lacks a user id, an item id,
-- or a number to order by (NULL where every row has one).
SELECT
    count(*) AS "rows",
    min("row") FILTER (WHERE user_id IS NULL) AS without_user,
    min("row") FILTER (WHERE item_id IS NULL) AS without_item,
    min("row") FILTER (WHERE order_number IS NULL) AS without_order
FROM parsed
