-- In: a query that counts a log's times by their unit; the table `log`. Out: one row a unit other than the most
-- frequent one, with the first row that is in it. Some seconds look like dates by chance, so these are no unit.
select counted.unit, counted."rows", counted.first_row, log.time_text::varchar as time
from (
    select *, row_number() over (order by "rows" desc, first_row) as place
    from (
{units}
    )
    where unit not in ('dates without dashes', 'unreadable')
) as counted
join log on log.rowid = counted.first_row - 1
where counted.place > 1
order by counted.place
