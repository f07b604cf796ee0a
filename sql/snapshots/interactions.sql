-- In: a relation `interactions`, and its {order} where it does not come in the canonical one. Out: the snapshot's table of
-- that name, typed and in its canonical order.
SELECT
    "user"::INTEGER AS "user",
    item::INTEGER AS item,
    "time"::BIGINT AS "time",
    position::INTEGER AS position,
    noise_kind::VARCHAR AS noise_kind
FROM interactions
{order}
