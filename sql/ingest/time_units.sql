-- In: the view `parsed`. Out: the units that its times are in, judged row by row from their magnitude (seconds
-- until the year 5138, milliseconds from 1973, and so on), the most frequent first, each with its first row.
SELECT
    CASE
        WHEN time_text IS NULL OR time_text = '' THEN 'missing'
        WHEN time_date IS NOT NULL THEN 'dates'
        WHEN time_number IS NULL THEN 'unreadable'
        WHEN abs(time_number) < 1e11 THEN 'seconds'
        WHEN abs(time_number) < 1e14 THEN 'milliseconds'
        WHEN abs(time_number) < 1e17 THEN 'microseconds'
        WHEN abs(time_number) < 9e18 THEN 'nanoseconds'
        ELSE 'unreadable'
    END AS unit,
    count(*) AS "rows",
    min("row") AS first_row
FROM parsed
GROUP BY unit
ORDER BY "rows" DESC, first_row
