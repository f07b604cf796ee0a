-- In: the table `sampled` and the columns {columns} by which events are told apart. Out: one row an event that repeats
-- those of an earlier one.
select "row", user_id, item_id, first_row
from (
    select *, min("row") over (partition by {columns}) as first_row
    from sampled
)
where "row" > first_row
order by "row"
