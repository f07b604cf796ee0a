-- In: a {file} of the snapshot that corruption leaves as it is. Out: the view {table}.
CREATE VIEW {table} AS
SELECT * FROM read_parquet({file})
