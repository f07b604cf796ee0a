-- In: the digest of a clean snapshot that is not there. Out: one row with it, so that its absence is reported.
select {digest} as clean_snapshot
