-- In: the tables `members` and `targets`, and the view `users`. Out: one row: users, events, training events, and targets
-- for validation (those for promotion included) and for test.
SELECT
    (SELECT count(*) FROM members) AS users,
    (SELECT sum(event_count)::BIGINT FROM members) AS events,
    (SELECT sum(train_length)::BIGINT FROM users) AS training,
    (SELECT count(*) FROM targets WHERE split <> 'test') AS validation,
    (SELECT count(*) FROM targets WHERE split = 'test') AS test
