-- In: a relation `items`. Out: the snapshot's table of that name, typed and in its canonical order.
SELECT
    item::INTEGER AS item,
    item_id::VARCHAR AS item_id
FROM items
ORDER BY item
