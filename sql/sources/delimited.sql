-- In: a text file of delimited fields under a header, its columns named c0, c1, … by {columns}, all read as text so that
-- ids keep their leading zeros. Out: one row an interaction, in the file's order; NULL where the log lacks a column.
SELECT
    {user} AS user_id,
    {item} AS item_id,
    {time} AS time_text,
    {order} AS order_text,
    {rating} AS rating_text,
    {noise} AS noise_text
FROM read_csv(
    {path},
    auto_detect = false,
    columns = {columns},
    header = true,
    delim = {delimiter},
    quote = '"',
    escape = '"',
    compression = {compression}
)
