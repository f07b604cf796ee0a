-- In: the tables `counted_items` and `item_codes`. Out: the table `items`: gapless indices from 1 in the ids' order
-- (0 is padding).
CREATE TABLE items AS
SELECT
    row_number() OVER (ORDER BY code) AS item,
    id AS item_id,
    code AS item_code
FROM counted_items JOIN item_codes USING (code)
