-- In: the relation `events` and its {order} within a user. Out: the table `distinct_events`: without those whose item
-- is that of the user's event just before.
CREATE TABLE distinct_events AS
SELECT *
FROM events
QUALIFY item_code IS DISTINCT FROM lag(item_code) OVER (PARTITION BY user_code ORDER BY {order})
