-- In: the relation `events`, one of its id columns {code}, the {events} of it that count, and $least. Out: the table
-- {counted}: those codes that have at least $least of them, with how many.
CREATE OR REPLACE TABLE {counted} AS
SELECT {code} AS code, count(*) AS event_count
FROM events
WHERE {events}
GROUP BY {code}
HAVING count(*) >= $least
