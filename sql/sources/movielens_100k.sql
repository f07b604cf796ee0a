-- In: MovieLens 100K's u.data: user ⇥ item ⇥ rating ⇥ seconds, without a header.
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
    delim = '\t',
    quote = '',
    escape = '',
    compression = {compression}
)
