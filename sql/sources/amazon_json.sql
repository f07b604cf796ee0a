-- In: Amazon reviews of 2014 or 2018, one JSON object a line.
-- Out: one row an interaction, in the file's order; NULL where the log lacks a column.
SELECT
    "reviewerID" AS user_id,
    asin AS item_id,
    "unixReviewTime" AS time_text,
    NULL::VARCHAR AS order_text,
    overall AS rating_text,
    NULL::VARCHAR AS noise_text
FROM read_json(
    {path},
    format = 'newline_delimited',
    columns = struct_pack(
        "reviewerID" := 'VARCHAR', asin := 'VARCHAR', "unixReviewTime" := 'VARCHAR', overall := 'VARCHAR'
    ),
    compression = {compression}
)
