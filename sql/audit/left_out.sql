-- In:  the audit's {interactions} and $below. Out: one row an interaction whose probability of being genuine is less than
--      $below: user and position. Of a user who would have no other left the least suspicious one stays.
SELECT "user", "position"
FROM (
    SELECT
        "user",
        "position",
        noise_probability,
        row_number() OVER (PARTITION BY "user" ORDER BY noise_probability, "position") AS place
    FROM read_parquet({interactions})
)
WHERE 1 - noise_probability < $below AND place > 1
ORDER BY "user", "position"
