-- In: YooChoose's clicks: session,ISO time,item,category, without a header.
-- Out: one row an interaction, in the file's order; a session is a user; NULL where the log lacks a column.
SELECT
    "session" AS user_id,
    item AS item_id,
    "time" AS time_text,
    NULL::VARCHAR AS order_text,
    NULL::VARCHAR AS rating_text,
    NULL::VARCHAR AS noise_text
FROM read_csv(
    {path},
    auto_detect = false,
    columns = struct_pack("session" := 'VARCHAR', "time" := 'VARCHAR', item := 'VARCHAR', category := 'VARCHAR'),
    header = false,
    delim = ',',
    quote = '',
    escape = '',
    compression = {compression}
)
