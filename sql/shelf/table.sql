-- In: a Parquet {file} of a snapshot. Out: the view {table} of its rows.
CREATE VIEW {table} AS
SELECT * FROM read_parquet({file})
