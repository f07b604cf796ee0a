-- In:  the audit's {interactions} and $top.
-- Out: the $top most suspicious interactions; of those equally probable, of which many have a probability of 1, first those
--      that meet the items around them least of what chance would. By how much they fall short of it instead would put
--      what everyone has first, which is the less often noise. 0.3 is what models/denoising/noise/cooccurrence.py gives rare
--      pairs beforehand, PRIOR.
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
ORDER BY noise_probability DESC, (meetings + 0.3) / (expected_meetings + 0.3), "user", "position"
LIMIT $top
