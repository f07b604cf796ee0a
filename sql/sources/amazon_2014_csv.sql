-- In: a ratings-only CSV of Amazon reviews 2014: user,item,rating,seconds, without a header.
-- Out: one row an interaction, in the file's order; NULL where the log lacks a column.
SELECT
    "user" AS user_id,
    item AS item_id,
    seconds AS time_text,
    NULL::VARCHAR AS order_text,
    rating AS rating_text,
    NULL::VARCHAR AS noise_text
FROM read_csv(
    {path},
    auto_detect = false,
    columns = struct_pack("user" := 'VARCHAR', item := 'VARCHAR', rating := 'VARCHAR', seconds := 'VARCHAR'),
    header = false,
    delim = ',',
    quote = '"',
    escape = '"',
    compression = {compression}
)
