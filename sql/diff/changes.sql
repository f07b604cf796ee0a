-- In: the tables `events_a` and `events_b`, and $with_times. Out: the table `changes`: one row an event that is not
-- the same in both. An event is the same by user, item, moment and noise kind. `change` is 'removed' (only in the
-- first), 'added' (only in the second), 'replaced' (one of each at the same position), 'relabelled' (only the noise
-- kind is another), or 'moved' (in another order among the user's events that both have; only where times count).
CREATE TABLE changes AS
WITH paired AS (
    SELECT
        coalesce(a.user_code, b.user_code) AS user_code,
        coalesce(a.item_code, b.item_code) AS item_code,
        coalesce(a.place, b.place) AS place,
        coalesce(a.noise_kind, b.noise_kind) AS noise_kind,
        a.position AS position_a,
        b.position AS position_b
    FROM events_a AS a
    FULL JOIN events_b AS b
        ON a.user_code = b.user_code AND a.item_code = b.item_code AND a.moment = b.moment
        AND a.noise_kind IS NOT DISTINCT FROM b.noise_kind AND a.occurrence = b.occurrence
), only_a AS (
    SELECT *, row_number() OVER (PARTITION BY user_code, item_code, place ORDER BY position_a) AS again
    FROM paired
    WHERE position_b IS NULL
), only_b AS (
    SELECT *, row_number() OVER (PARTITION BY user_code, item_code, place ORDER BY position_b) AS again
    FROM paired
    WHERE position_a IS NULL
), relabelled AS (
    SELECT
        user_code,
        item_code,
        place,
        again,
        only_a.position_a AS position,
        only_a.noise_kind AS noise_a,
        only_b.noise_kind AS noise_b
    FROM only_a JOIN only_b USING (user_code, item_code, place, again)
), removed AS (
    SELECT * FROM only_a ANTI JOIN relabelled USING (user_code, item_code, place, again)
), added AS (
    SELECT * FROM only_b ANTI JOIN relabelled USING (user_code, item_code, place, again)
), in_both AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY user_code ORDER BY position_a)
        <> row_number() OVER (PARTITION BY user_code ORDER BY position_b) AS is_moved
    FROM paired
    WHERE position_a IS NOT NULL AND position_b IS NOT NULL
)
SELECT
    CASE WHEN a.position_b IS NULL THEN 'removed' WHEN r.position_a IS NULL THEN 'added' ELSE 'replaced' END AS change,
    coalesce(r.user_code, a.user_code) AS user_code,
    r.item_code AS item_a,
    a.item_code AS item_b,
    coalesce(r.position_a, a.position_b) AS position,
    r.noise_kind AS noise_a,
    a.noise_kind AS noise_b
FROM removed AS r
FULL JOIN added AS a ON r.user_code = a.user_code AND r.position_a = a.position_b
UNION ALL
SELECT 'relabelled', user_code, item_code, item_code, position, noise_a, noise_b FROM relabelled
UNION ALL
SELECT 'moved', user_code, item_code, item_code, position_a, noise_kind, noise_kind
FROM in_both
WHERE is_moved AND $with_times
