-- In: the tables `events` and `item_codes`. Out: the table `items`: gapless indices from 1 in the ids' order
-- (0 is padding).
CREATE TABLE items AS
SELECT
    row_number() OVER (ORDER BY code) AS item,
    id AS item_id,
    code AS item_code
FROM item_codes
WHERE code IN (SELECT item_code FROM events)
