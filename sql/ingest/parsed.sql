-- In: the table `log` in the file's order, its values as text or as the numbers and moments that the file has; the
-- expressions {user_id}, {item_id}, {time_number}, {time_date}, {order_number}, {order_integer}, {rating} and {noise_kind}
-- over its columns. Out: the view `parsed`: `row` is 1-based, an id is never empty, a time is a number or a date
-- (microseconds since 1970 UTC), an order and a rating are numbers; NULL where the value is none, or the log has none.
-- An order keeps an integer beside the double, because doubles above 2^53 stand for several integers.
CREATE VIEW parsed AS
SELECT
    rowid + 1 AS "row",
    {user_id} AS user_id,
    {item_id} AS item_id,
    {time_number} AS time_number,
    {time_date} AS time_date,
    {order_number} AS order_number,
    {order_integer} AS order_integer,
    {rating} AS rating,
    {noise_kind} AS noise_kind
FROM log
