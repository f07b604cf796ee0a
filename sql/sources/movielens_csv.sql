-- In: ratings.csv of MovieLens 20M, 25M and 32M, under the header userId,movieId,rating,timestamp.
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
    header = true,
    delim = ',',
    quote = '"',
    escape = '"',
    compression = {compression}
)
