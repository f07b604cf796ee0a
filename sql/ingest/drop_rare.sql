-- In: the table `events`, its column {code} and $k. Out: `events` without the codes that have fewer than $k rows;
-- returns how many rows were dropped.
DELETE FROM events
WHERE {code} IN (SELECT {code} FROM events GROUP BY {code} HAVING count(*) < $k)
