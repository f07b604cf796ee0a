-- In: the tables `events` and `user_codes`, and $min_events. Out: the table `users`: gapless indices from 0 in the
-- ids' order, how many events each has, and how many of the first ones may be trained on (all but the last two
-- for the users who are ranked).
CREATE TABLE users AS
WITH counted AS (
    SELECT user_code, count(*) AS event_count FROM events GROUP BY user_code
)
SELECT
    row_number() OVER (ORDER BY user_code) - 1 AS "user",
    id AS user_id,
    user_code,
    event_count,
    event_count >= $min_events AS is_ranked,
    CASE WHEN event_count >= $min_events THEN event_count - 2 ELSE event_count END AS train_length
FROM counted JOIN user_codes ON user_code = code
