-- In: the view `parsed` and the {id} column wanted. Out: the table {codes}: a code for each raw id, ascending in
-- the ids' order, and whether every id is a plain 64-bit integer (no leading zeros or plus), which decides that
-- order and is then the code itself: by number, or by the bytes of the text.
CREATE TABLE {codes} AS
WITH ids AS (
    SELECT {id}::VARCHAR AS id FROM (SELECT DISTINCT {id} FROM parsed)
), typed AS (
    SELECT
        id,
        bool_and(
            try_cast(id AS BIGINT) IS NOT NULL AND regexp_full_match(id, '0|-?[1-9][0-9]*')
        ) OVER () AS is_integer
    FROM ids
)
SELECT
    id,
    is_integer,
    CASE WHEN is_integer THEN try_cast(id AS BIGINT) ELSE row_number() OVER (ORDER BY id) END AS code
FROM typed
