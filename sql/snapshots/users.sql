-- In: a relation `users`. Out: the snapshot's table of that name, typed and in its canonical order.
SELECT
    "user"::INTEGER AS "user",
    user_id::VARCHAR AS user_id,
    train_length::INTEGER AS train_length
FROM users
ORDER BY "user"
