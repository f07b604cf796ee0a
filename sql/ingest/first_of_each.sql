-- In: the relation `events`, the {same} columns that make events duplicates of each other, and their {order}, the one
-- to keep first. Out: the table `distinct_events`: of duplicates only that one.
CREATE TABLE distinct_events AS
SELECT *
FROM events
QUALIFY row_number() OVER (PARTITION BY {same} ORDER BY {order}) = 1
