-- In: the snapshot's {interactions} and the relation `replaced` (user, position, item). Out: the view
-- `interactions`, with those items in place of the ones that were there, and so labelled.
CREATE VIEW interactions AS
SELECT
    i."user",
    coalesce(r.item, i.item) AS item,
    i."time",
    i.position,
    CASE WHEN r.item IS NULL THEN i.noise_kind ELSE 'replace' END AS noise_kind
FROM read_parquet({interactions}) AS i
LEFT JOIN replaced AS r ON i."user" = r."user" AND i.position = r.position
