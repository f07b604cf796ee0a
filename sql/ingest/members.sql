-- In: the tables `counted_users` and `user_codes`. Out: the table `members`, the users: gapless indices from 0 in the
-- ids' order, how many events each has, and how many those before have together.
CREATE TABLE members AS
SELECT
    row_number() OVER (ORDER BY code) - 1 AS "user",
    id AS user_id,
    code AS user_code,
    event_count,
    (sum(event_count) OVER (ORDER BY code))::BIGINT - event_count AS first_row
FROM counted_users JOIN user_codes USING (code)
