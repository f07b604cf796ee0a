-- In: the targets of two snapshots, {a} and {b}, and the tables `user_codes` and `item_codes`. Out: one row: targets
-- only in the first, only in the second, in both, and of these those with a longer history in the second, a shorter
-- one, and another number. A target is the same by user, item and split.
WITH first AS (
    SELECT
        u.code AS user_code,
        i.code AS item_code,
        t.split,
        t.history,
        t.target,
        row_number() OVER (PARTITION BY t."user", t.item, t.split ORDER BY t.history) AS occurrence
    FROM read_parquet({a}) AS t
    JOIN user_codes AS u ON u.in_a = t."user"
    JOIN item_codes AS i ON i.in_a = t.item
), second AS (
    SELECT
        u.code AS user_code,
        i.code AS item_code,
        t.split,
        t.history,
        t.target,
        row_number() OVER (PARTITION BY t."user", t.item, t.split ORDER BY t.history) AS occurrence
    FROM read_parquet({b}) AS t
    JOIN user_codes AS u ON u.in_b = t."user"
    JOIN item_codes AS i ON i.in_b = t.item
)
SELECT
    count(*) FILTER (WHERE second.target IS NULL) AS only_a,
    count(*) FILTER (WHERE first.target IS NULL) AS only_b,
    count(*) FILTER (WHERE first.target IS NOT NULL AND second.target IS NOT NULL) AS in_both,
    count(*) FILTER (WHERE second.history > first.history) AS longer,
    count(*) FILTER (WHERE second.history < first.history) AS shorter,
    count(*) FILTER (WHERE second.target <> first.target) AS renumbered
FROM first FULL JOIN second USING (user_code, item_code, split, occurrence)
