-- In: a table {ids} of ids, its column {id}. Out: one row an id with a single event.
select {id}, first_row
from {ids}
where events = 1
order by first_row
