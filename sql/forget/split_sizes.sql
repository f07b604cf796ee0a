-- In: the tables `users` and `targets` of what stays. Out: one row: training events, and targets for validation and for
-- test.
SELECT
    (SELECT sum(train_length)::BIGINT FROM users) AS training,
    (SELECT count(*) FROM targets WHERE split = 'validation') AS validation,
    (SELECT count(*) FROM targets WHERE split = 'test') AS test
