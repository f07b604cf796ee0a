-- In: the table `ordered`, and the moments $validation and $test. Out: the table `windows`: of each user how many of the
-- first events may be trained on (those before the first moment), and from which position (inclusive) to which
-- (exclusive) they are for validation (those before the second) and for test; a user's first event is for neither.
CREATE TABLE windows AS
WITH counted AS (
    SELECT
        "user",
        count(*) AS event_count,
        count(*) FILTER (WHERE "time" < $validation) AS before_validation,
        count(*) FILTER (WHERE "time" < $test) AS before_test
    FROM ordered
    GROUP BY "user"
)
SELECT
    "user",
    before_validation AS train_length,
    greatest(before_validation, 1) AS validation_start,
    before_test AS validation_stop,
    greatest(before_test, 1) AS test_start,
    event_count AS test_stop
FROM counted
