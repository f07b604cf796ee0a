-- In: a table {codes} and $few. Out: one row: how many ids only the first snapshot has and the first $few of them,
-- and the same of the second.
SELECT
    count(*) FILTER (WHERE in_b IS NULL) AS only_a,
    coalesce((SELECT list(id ORDER BY code) FROM (
        SELECT id, code FROM {codes} WHERE in_b IS NULL ORDER BY code LIMIT $few
    )), []) AS first_a,
    count(*) FILTER (WHERE in_a IS NULL) AS only_b,
    coalesce((SELECT list(id ORDER BY code) FROM (
        SELECT id, code FROM {codes} WHERE in_a IS NULL ORDER BY code LIMIT $few
    )), []) AS first_b
FROM {codes}
