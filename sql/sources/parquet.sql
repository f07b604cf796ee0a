-- In: a Parquet file, its columns named c0, c1, … by {columns}. Out: one row an interaction, as text, or as integers and
-- moments in time where the file has them, in the file's order; NULL where the log lacks a column.
SELECT
    {user} AS user_id,
    {item} AS item_id,
    {time} AS time_text,
    {order} AS order_text,
    {rating} AS rating_text,
    {noise} AS noise_text
FROM read_parquet({path}, binary_as_string = true, hive_partitioning = false) AS file({columns})
