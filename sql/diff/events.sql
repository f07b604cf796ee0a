-- In: one snapshot's {interactions}, the tables `user_codes`, `item_codes` and `alike`, the column {side} that holds
-- its indices, and $with_times. Out: the table {events}: every event with the codes of its user and item, its moment,
-- its place, and which of the user's events with the same item, moment and noise kind it is. Moment and place are the
-- time. Where times do not count, the place is the position, and so is the moment of a user with as many events in
-- both snapshots; that of others is 0, so that what is put in before an event makes it no other.
CREATE TABLE {events} AS
SELECT
    *,
    row_number() OVER (PARTITION BY user_code, item_code, moment, noise_kind ORDER BY position) AS occurrence
FROM (
    SELECT
        u.code AS user_code,
        i.code AS item_code,
        CASE WHEN $with_times THEN e."time" WHEN alike.user_code IS NULL THEN 0 ELSE e.position END AS moment,
        CASE WHEN $with_times THEN e."time" ELSE e.position END AS place,
        e.position,
        e.noise_kind
    FROM read_parquet({interactions}) AS e
    JOIN user_codes AS u ON u.{side} = e."user"
    JOIN item_codes AS i ON i.{side} = e.item
    LEFT JOIN alike ON alike.user_code = u.code
)
