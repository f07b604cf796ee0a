-- In: a file with one JSON object a line, the fields in {columns} read as text.
-- Out: one row an interaction, in the file's order; NULL where the log lacks a column.
SELECT
    {user} AS user_id,
    {item} AS item_id,
    {time} AS time_text,
    {order} AS order_text,
    {rating} AS rating_text,
    {noise} AS noise_text
FROM read_json(
    {path},
    format = 'newline_delimited',
    columns = {columns},
    compression = {compression}
)
