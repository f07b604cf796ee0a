-- In: a relation `targets`. Out: the snapshot's table of that name, typed and in its canonical order.
SELECT
    target::INTEGER AS target,
    "user"::INTEGER AS "user",
    item::INTEGER AS item,
    split::VARCHAR AS split,
    history::INTEGER AS history
FROM targets
ORDER BY target
