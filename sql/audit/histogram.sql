-- In:  the audit's {interactions} and $bins. Out: one row a bin of probabilities that holds any: its number, from 0, and
--      how many interactions it holds.
SELECT
    least(floor(noise_probability * $bins), $bins - 1)::INTEGER AS bin,
    count(*) AS events
FROM read_parquet({interactions})
GROUP BY bin
ORDER BY bin
