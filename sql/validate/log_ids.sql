-- In: the view `parsed` and one of its columns {id}. Out: the table {ids}: each id as text, its number of events and
-- the first row that has it.
create table {ids} as
select {id}::varchar as {id}, count(*) as events, min("row") as first_row
from parsed
group by all
