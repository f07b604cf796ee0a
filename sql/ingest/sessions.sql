-- In: the table `ordered` with its {order}, the table `members`, and how many users $validation and $test take. Out: the
-- table `windows`: of each user how many of the first events may be trained on, and from which position (inclusive) to
-- which (exclusive) they are for validation and for test: in the order of the users' first events all of the first
-- ones' to train on, all but the first event of the next ones' for validation, and of the last ones' for test.
CREATE TABLE windows AS
WITH ranked AS (
    SELECT
        members."user",
        event_count,
        count(*) OVER () - row_number() OVER (ORDER BY {order}) AS later
    FROM ordered JOIN members ON ordered.rowid = members.first_row
)
SELECT
    "user",
    if(later < $validation + $test, 0, event_count) AS train_length,
    1 AS validation_start,
    if(later >= $test AND later < $validation + $test, event_count, 0) AS validation_stop,
    1 AS test_start,
    if(later < $test, event_count, 0) AS test_stop
FROM ranked
