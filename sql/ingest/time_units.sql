-- In: the view `parsed` and the table `log`. Out: the units that its times are in, judged row by row from their magnitude
-- (seconds until the year 5138, milliseconds from 1973, and so on), the most frequent first, each with its first row.
SELECT
    CASE
        WHEN time_number BETWEEN 19000101 AND 21001231
        AND try_strptime(time_number::BIGINT::VARCHAR, '%Y%m%d') IS NOT NULL THEN 'dates without dashes'
        WHEN abs(time_number) < 1e11 THEN 'seconds'
        WHEN abs(time_number) < 1e14 THEN 'milliseconds'
        WHEN abs(time_number) < 1e17 THEN 'microseconds'
        WHEN abs(time_number) < 9e18 THEN 'nanoseconds'
        WHEN time_date IS NOT NULL THEN 'dates'
        ELSE 'unreadable'
    END AS unit,
    count(*) AS "rows",
    min("row") AS first_row
FROM parsed
GROUP BY unit
ORDER BY "rows" DESC, first_row
