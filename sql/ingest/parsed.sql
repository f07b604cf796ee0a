-- In: the table `log`, all text, in the file's order. Out: the view `parsed`: `row` is 1-based, an empty id is
-- NULL, a time is a number or a date (microseconds since 1970 UTC), an order is a number; NULL where the text
-- is none. An order keeps an integer beside the double, because doubles above 2^53 stand for several integers.
CREATE VIEW parsed AS
SELECT
    rowid + 1 AS "row",
    nullif(user_id, '') AS user_id,
    nullif(item_id, '') AS item_id,
    time_text,
    CASE WHEN isfinite(try_cast(time_text AS DOUBLE)) THEN try_cast(time_text AS DOUBLE) END AS time_number,
    CASE
        WHEN try_cast(time_text AS DOUBLE) IS NULL AND isfinite(try_cast(time_text AS TIMESTAMPTZ))
        THEN epoch_us(try_cast(time_text AS TIMESTAMPTZ))
    END AS time_date,
    order_text,
    CASE WHEN isfinite(try_cast(order_text AS DOUBLE)) THEN try_cast(order_text AS DOUBLE) END AS order_number,
    try_cast(order_text AS HUGEINT) AS order_integer,
    CASE WHEN noise_text NOT IN ('', 'genuine') THEN noise_text END AS noise_kind
FROM log
