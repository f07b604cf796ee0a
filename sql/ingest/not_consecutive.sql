-- In: the relation `events`, those {events} of it that count, and their {order} within a user. Out: the table
-- `distinct_events`: those without the ones whose item is that of the user's event just before.
CREATE TABLE distinct_events AS
SELECT *
FROM events
WHERE {events}
QUALIFY item_code IS DISTINCT FROM lag(item_code) OVER (PARTITION BY user_code ORDER BY {order})
