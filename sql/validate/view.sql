-- In: one table of a snapshot as the path of its Parquet file.
-- Out: a view of that name, so that every check reads the file inside DuckDB.
create view {table} as
select * from read_parquet({path})
