-- In:  the audit's {interactions}. Out: one row: judged interactions, their users and items, how many are expected to be
--      noise, and the median over those with neighbours of meetings over those by chance.
SELECT
    count(*) AS judged,
    count(DISTINCT user_id) AS users,
    count(DISTINCT item_id) AS items,
    sum(noise_probability) AS expected_noise,
    coalesce(median((meetings + 0.3) / (expected_meetings + 0.3)) FILTER (WHERE neighbours > 0), 1) AS typical
FROM read_parquet({interactions})
