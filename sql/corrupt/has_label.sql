-- In: the snapshot's {interactions} and $kind. Out: one row: is any of them labelled as noise of that kind?
SELECT coalesce(bool_or(noise_kind = $kind), false) AS labelled FROM read_parquet({interactions})
