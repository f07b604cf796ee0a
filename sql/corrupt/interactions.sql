-- In: the snapshot's {interactions}, the table `open_users`, and the relations `edited_events` (the open
-- interactions after the noise) and `edited_users` (by how much each user's became more). Out: the view
-- `interactions`: those, and the ones that are not open, moved on by that much.
CREATE VIEW interactions AS
SELECT
    "user",
    item,
    "time",
    position,
    noise_kind::VARCHAR AS noise_kind
FROM edited_events
UNION ALL
SELECT
    i."user",
    i.item,
    i."time",
    i.position + e.growth,
    i.noise_kind
FROM read_parquet({interactions}) AS i
JOIN open_users AS o ON i."user" = o."user"
JOIN edited_users AS e ON i."user" = e."user"
WHERE i.position >= o.open_length
