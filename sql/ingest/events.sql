-- In: the view `parsed`, the tables `user_codes` and `item_codes`, and $scale: microseconds in a unit of the
-- times that are numbers. Out: the table `events`, one row an interaction, ids as codes.
CREATE TABLE events AS
SELECT
    u.code AS user_code,
    i.code AS item_code,
    coalesce(p.time_date, round(p.time_number * $scale)::BIGINT) AS "time",
    p.order_number,
    p.order_integer,
    p."row",
    p.noise_kind
FROM parsed AS p
JOIN user_codes AS u ON p.user_id = u.id
JOIN item_codes AS i ON p.item_id = i.id
