-- In: the {interactions} of a snapshot. Out: each kind of noise with its number of events, by kind.
SELECT noise_kind, count(*) AS events
FROM read_parquet({interactions})
WHERE noise_kind IS NOT NULL
GROUP BY noise_kind
ORDER BY noise_kind
