-- In: the snapshot's {interactions}, {targets} and {users}. Out: the table `open_users`, one row a user: how many of
-- the first interactions may be trained on, how many are open (those before the first target, all where there is
-- none), and the time of the first that is not open (NULL where there is none).
CREATE TABLE open_users AS
WITH ends AS (
    SELECT "user", min(history) AS open_length FROM read_parquet({targets}) GROUP BY "user"
), counted AS (
    SELECT "user", count(*) AS events FROM read_parquet({interactions}) GROUP BY "user"
), following AS (
    SELECT i."user", i."time"
    FROM read_parquet({interactions}) AS i JOIN ends AS e ON i."user" = e."user" AND i.position = e.open_length
)
SELECT
    u."user",
    u.train_length,
    coalesce(e.open_length, c.events, 0)::BIGINT AS open_length,
    f."time" AS next_time
FROM read_parquet({users}) AS u
LEFT JOIN ends AS e USING ("user")
LEFT JOIN counted AS c USING ("user")
LEFT JOIN following AS f USING ("user")
