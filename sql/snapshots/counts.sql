-- In: relations `interactions`, `targets`, `users` and `items`. Out: one row with the manifest's counts;
-- `training` is the number of positions that may be trained on, `noisy` those of them with a kind of noise.
SELECT
    (SELECT count(*) FROM interactions) AS interactions,
    (SELECT count(*) FROM users) AS users,
    (SELECT count(*) FROM items) AS items,
    (SELECT count(*) FROM targets WHERE split = 'validation') AS targets_validation,
    (SELECT count(*) FROM targets WHERE split = 'promotion') AS targets_promotion,
    (SELECT count(*) FROM targets WHERE split = 'test') AS targets_test,
    (
        SELECT count(*)
        FROM interactions JOIN users USING ("user")
        WHERE position < train_length AND noise_kind IS NOT NULL
    ) AS noisy,
    (SELECT coalesce(sum(train_length), 0)::BIGINT FROM users) AS training
