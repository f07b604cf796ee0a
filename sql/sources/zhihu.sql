-- In: ZhihuRec's impressions: user,answer,time shown,time clicked (0 where it was not), without a header; and what
-- {line} numbers rows by.
-- Out: one row a click, in the file's order, and its row of the file; NULL where the log lacks a column.
WITH numbered AS (
    SELECT
        "user",
        answer,
        clicked,
        {line} AS line
    FROM read_csv(
        {path},
        auto_detect = false,
        columns = struct_pack("user" := 'VARCHAR', answer := 'VARCHAR', shown := 'VARCHAR', clicked := 'VARCHAR'),
        header = false,
        delim = ',',
        quote = '',
        escape = '',
        compression = {compression}
    )
)
SELECT
    "user" AS user_id,
    answer AS item_id,
    clicked AS time_text,
    NULL::VARCHAR AS order_text,
    NULL::VARCHAR AS rating_text,
    NULL::VARCHAR AS noise_text,
    line
FROM numbered
-- A value that is no number stays, to be refused with its row.
WHERE coalesce(try_cast(clicked AS BIGINT), 1) > 0
