-- In: the tables `members` and `windows`. Out: the view `users`: each user's raw id, and how many of the first events may
-- be trained on.
CREATE VIEW users AS
SELECT "user", user_id, train_length
FROM members JOIN windows USING ("user")
