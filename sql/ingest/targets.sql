-- In: the view `interactions`, the table `windows`, the view `draws`, $which of the events in a user's windows are
-- targets ('first', 'last' or 'every'), and the share of $promotion. Out: the table `targets`, numbered by split
-- (validation, promotion, test), then by user and history. The users drawn for promotion have their validation targets
-- there, unless that would take all of them.
CREATE TABLE targets AS
WITH spans AS (
    SELECT "user", 'validation' AS split, validation_start AS start, validation_stop AS stop FROM windows
    UNION ALL
    SELECT "user", 'test' AS split, test_start AS start, test_stop AS stop FROM windows
), chosen AS (
    SELECT
        "user",
        split,
        CASE $which WHEN 'last' THEN stop - 1 ELSE start END AS start,
        CASE $which WHEN 'first' THEN start + 1 ELSE stop END AS stop
    FROM spans
    WHERE start < stop
), promoted AS (
    SELECT
        "user",
        draw < $promotion AND NOT bool_and(draw < $promotion) OVER () AS is_promoted
    FROM draws
    WHERE purpose = 'promotion' AND "user" IN (SELECT "user" FROM chosen WHERE split = 'validation')
), placed AS (
    SELECT
        i."user",
        i.item,
        CASE WHEN c.split = 'validation' AND p.is_promoted THEN 'promotion' ELSE c.split END AS split,
        i.position AS history
    FROM interactions AS i
    JOIN chosen AS c ON i."user" = c."user" AND i.position >= c.start AND i.position < c.stop
    LEFT JOIN promoted AS p ON i."user" = p."user"
)
SELECT
    row_number() OVER (
        ORDER BY CASE split WHEN 'validation' THEN 0 WHEN 'promotion' THEN 1 ELSE 2 END, "user", history
    ) - 1 AS target,
    "user",
    item,
    split,
    history
FROM placed
