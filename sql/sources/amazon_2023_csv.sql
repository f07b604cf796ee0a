-- In: a ratings-only CSV of Amazon reviews 2023 with the {columns} of its header: user_id, parent_asin, rating,
-- timestamp (milliseconds), and in some files history.
-- Out: one row an interaction, in the file's order; NULL where the log lacks a column.
SELECT
    user_id,
    parent_asin AS item_id,
    "timestamp" AS time_text,
    NULL::VARCHAR AS order_text,
    rating AS rating_text,
    NULL::VARCHAR AS noise_text
FROM read_csv(
    {path},
    auto_detect = false,
    columns = {columns},
    header = true,
    delim = ',',
    quote = '"',
    escape = '"',
    compression = {compression}
)
