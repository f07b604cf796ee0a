-- In: a snapshot's {items} and {interactions}, and the table `users` of those who stay. Out: the table `items` with
-- those that they have, numbered anew from 1 in the same order; `old_item` is the number that each had.
CREATE TABLE items AS
SELECT
    row_number() OVER (ORDER BY item) AS item,
    item_id,
    item AS old_item
FROM read_parquet({items})
WHERE item IN (
    SELECT e.item FROM read_parquet({interactions}) AS e JOIN users AS u ON u.old_user = e."user"
)
