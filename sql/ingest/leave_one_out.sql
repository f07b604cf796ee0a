-- In: the table `members` and $min_events. Out: the table `windows`: of each user how many of the first events may be
-- trained on, and from which position (inclusive) to which (exclusive) they are for validation and for test: of users
-- with at least $min_events events the last one for test and the one before it for validation.
CREATE TABLE windows AS
SELECT
    "user",
    if(event_count >= $min_events, event_count - 2, event_count) AS train_length,
    if(event_count >= $min_events, event_count - 2, 0) AS validation_start,
    if(event_count >= $min_events, event_count - 1, 0) AS validation_stop,
    if(event_count >= $min_events, event_count - 1, 0) AS test_start,
    if(event_count >= $min_events, event_count, 0) AS test_stop
FROM members
