-- In: the table `members`, the view `draws` of 'held-out', and the shares $validation and $test. Out: the table `windows`:
-- of each user how many of the first events may be trained on, and from which position (inclusive) to which (exclusive)
-- they are for validation and for test: all but the first event of the users drawn, by their share.
CREATE TABLE windows AS
SELECT
    "user",
    if(draw < $validation + $test, 0, event_count) AS train_length,
    1 AS validation_start,
    if(draw >= $test AND draw < $validation + $test, event_count, 0) AS validation_stop,
    1 AS test_start,
    if(draw < $test, event_count, 0) AS test_stop
FROM members JOIN draws USING ("user")
WHERE draws.purpose = 'held-out'
