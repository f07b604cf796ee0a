-- In: a query whose rows are all unexpected.
-- Out: its first rows, each with `unexpected_rows`, the number of rows of the whole query.
-- The query runs once; without this it would run again to be counted.
select *, count(*) over () as unexpected_rows
from (
{query}
)
limit {rows}
