-- In: a text file of `user item` lines without a header, parted by {delimiter}.
-- Out: one row an interaction, in the file's order; NULL where the log lacks a column.
SELECT
    "user" AS user_id,
    item AS item_id,
    NULL::VARCHAR AS time_text,
    NULL::VARCHAR AS order_text,
    NULL::VARCHAR AS rating_text,
    NULL::VARCHAR AS noise_text
FROM read_csv(
    {path},
    auto_detect = false,
    columns = struct_pack("user" := 'VARCHAR', item := 'VARCHAR'),
    header = false,
    delim = {delimiter},
    quote = '',
    escape = '',
    compression = {compression}
)
