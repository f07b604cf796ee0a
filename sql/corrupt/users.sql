-- In: the snapshot's {users} and the relations `edited_users` (how many of each user's first interactions may be
-- trained on after the noise) and `added_users` (the raw ids of those who were not there before). Out: the view
-- `users`, old and new.
CREATE VIEW users AS
SELECT
    e."user",
    coalesce(u.user_id, a.user_id) AS user_id,
    e.train_length
FROM edited_users AS e
LEFT JOIN read_parquet({users}) AS u USING ("user")
LEFT JOIN added_users AS a USING ("user")
