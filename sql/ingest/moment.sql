-- In: the table `ordered` and $events, at least 1. Out: one row: the time at or after which that many of its events lie,
-- or, because events of equal time are not parted, more.
SELECT "time" FROM ordered ORDER BY "time" DESC LIMIT 1 OFFSET $events - 1
