-- In:  the audit's {interactions} and $top. Out: the $top most suspicious interactions.
SELECT
    user_id,
    item_id,
    "time",
    "position",
    noise_probability,
    neighbours,
    meetings,
    expected_meetings,
    item_events,
    item_before,
    item_after,
    label
FROM read_parquet({interactions})
ORDER BY noise_probability DESC, meetings - expected_meetings, "user", "position"
LIMIT $top
