-- In: the table `members` and the {seed}. Out: the view `draws`: for each user and purpose a number from 0 to 1 that
-- depends on these, the seed and the raw id alone: not on who else is there, nor on the version of DuckDB.
CREATE VIEW draws AS
SELECT
    "user",
    purpose,
    -- 52 bits of the digest, which a double holds exactly.
    ('0x' || left(md5({seed} || ':' || purpose || ':' || user_id), 13))::BIGINT / 4503599627370496.0 AS draw
FROM members, (VALUES ('held-out'), ('promotion')) AS purposes (purpose)
