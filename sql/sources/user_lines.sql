-- In: a text file of `user item item item …` lines, parted by spaces or tabs, and what {line} numbers lines by.
-- Out: one row an interaction, in the order of lines and of items within them, and its line; NULL where the log
-- lacks a column.
WITH numbered AS (
    SELECT
        regexp_extract_all(text, '[^ \t]+') AS ids,
        {line} AS line
    FROM read_csv(
        {path},
        auto_detect = false,
        columns = struct_pack(text := 'VARCHAR'),
        header = false,
        -- A character that no text holds: the line is one field.
        delim = chr(1),
        quote = '',
        escape = '',
        compression = {compression}
    )
)
SELECT
    ids[1] AS user_id,
    unnest(ids[2:]) AS item_id,
    NULL::VARCHAR AS time_text,
    NULL::VARCHAR AS order_text,
    NULL::VARCHAR AS rating_text,
    NULL::VARCHAR AS noise_text,
    line
FROM numbered
