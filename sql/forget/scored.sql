-- In: a Parquet {file} of scored users or of an audit's judged interactions, and $ids. Out: how many of its rows are theirs.
SELECT count(*)
FROM read_parquet({file})
WHERE user_id::VARCHAR IN (SELECT unnest($ids::VARCHAR[]))
