-- In: the view `parsed`, the expressions {user_code} and {item_code} over it and the tables in {joins}, the further
-- {columns} that events have, and {least}: the least rating that is taken. Out: the {relation} `events`, one row an
-- interaction, ids as codes.
CREATE {relation} events AS
SELECT
    {user_code} AS user_code,
    {item_code} AS item_code,
    "row"{columns}
FROM parsed{joins}
WHERE {least}
