CREATE TABLE events AS
SELECT "userId", "movieId", "timestamp", file_row_number AS "row"
FROM read_parquet('{log}', file_row_number = true);
CREATE OR REPLACE TABLE events AS
SELECT * FROM events
WHERE "userId" IN (SELECT "userId" FROM events GROUP BY ALL HAVING count(*) >= {core})
  AND "movieId" IN (SELECT "movieId" FROM events GROUP BY ALL HAVING count(*) >= {core});
CREATE TABLE users AS
SELECT
    (row_number() OVER (ORDER BY "userId") - 1)::INTEGER AS "user",
    "userId" AS user_id,
    count(*) AS events,
    CASE WHEN count(*) >= 3 THEN count(*) - 2 ELSE count(*) END AS train_length
FROM events GROUP BY "userId";
CREATE TABLE items AS
SELECT row_number() OVER (ORDER BY "movieId")::INTEGER AS item, "movieId" AS item_id
FROM (SELECT DISTINCT "movieId" FROM events);
CREATE TABLE interactions AS
SELECT
    "user",
    item,
    "timestamp" * 1000000 AS "time",
    (row_number() OVER (PARTITION BY "user" ORDER BY "timestamp", "row") - 1)::INTEGER AS position
FROM events
JOIN users ON "userId" = user_id
JOIN items ON "movieId" = item_id;
DROP TABLE events;
COPY (SELECT * FROM interactions ORDER BY "user", position) TO '{output}/interactions.parquet' (FORMAT parquet);
COPY (
    SELECT "user", item, CASE position WHEN events - 1 THEN 'test' ELSE 'validation' END AS split, position AS history
    FROM interactions JOIN users USING ("user")
    WHERE events >= 3 AND position >= events - 2
    ORDER BY split DESC, "user"
) TO '{output}/targets.parquet' (FORMAT parquet);
COPY (SELECT "user", user_id, train_length FROM users ORDER BY "user") TO '{output}/users.parquet' (FORMAT parquet);
COPY (SELECT item, item_id FROM items ORDER BY item) TO '{output}/items.parquet' (FORMAT parquet)
