-- In: the interactions of two snapshots, {a} and {b}, and the table `user_codes`. Out: the table `alike`: the codes of
-- the users who have as many events in both. (A join on equal counts would be quadratic in the users.)
CREATE TABLE alike AS
SELECT code AS user_code
FROM (
    SELECT u.code, count(*) AS events
    FROM read_parquet({a}) AS a JOIN user_codes AS u ON u.in_a = a."user"
    GROUP BY u.code
    UNION ALL
    SELECT u.code, -count(*) AS events
    FROM read_parquet({b}) AS b JOIN user_codes AS u ON u.in_b = b."user"
    GROUP BY u.code
)
GROUP BY code
HAVING sum(events) = 0
