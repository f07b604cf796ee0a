-- In: Amazon reviews of 2023, one JSON object a line. An item is a product with all its variants (parent_asin).
-- Out: one row an interaction, in the file's order; NULL where the log lacks a column.
SELECT
    user_id,
    parent_asin AS item_id,
    "timestamp" AS time_text,
    NULL::VARCHAR AS order_text,
    rating AS rating_text,
    NULL::VARCHAR AS noise_text
FROM read_json(
    {path},
    format = 'newline_delimited',
    columns = struct_pack(
        user_id := 'VARCHAR', parent_asin := 'VARCHAR', "timestamp" := 'VARCHAR', rating := 'VARCHAR'
    ),
    compression = {compression}
)
