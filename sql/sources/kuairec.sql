-- In: KuaiRec's big_matrix.csv or small_matrix.csv, and what {line} numbers rows by.
-- Out: one row an interaction, in the file's order, and its row of the file; NULL where the log lacks a column.
-- Rows without a time are left out: in them a video was forced on a user, to fill the small matrix.
WITH numbered AS (
    SELECT
        user_id,
        video_id,
        "timestamp",
        watch_ratio,
        {line} AS line
    FROM read_csv(
        {path},
        auto_detect = false,
        columns = struct_pack(
            user_id := 'VARCHAR', video_id := 'VARCHAR', play_duration := 'VARCHAR', video_duration := 'VARCHAR',
            "time" := 'VARCHAR', "date" := 'VARCHAR', "timestamp" := 'VARCHAR', watch_ratio := 'VARCHAR'
        ),
        header = true,
        delim = ',',
        quote = '"',
        escape = '"',
        compression = {compression}
    )
)
SELECT
    user_id,
    video_id AS item_id,
    "timestamp" AS time_text,
    NULL::VARCHAR AS order_text,
    watch_ratio AS rating_text,
    NULL::VARCHAR AS noise_text,
    line
FROM numbered
WHERE "timestamp" <> ''
