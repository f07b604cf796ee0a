-- In: the tables `faults` and `log`, one of the flags and the log's columns. Out: one row a row of the log with that
-- flag, with what it holds.
select faults."row", {columns}
from faults
join log on log.rowid = faults."row" - 1
where faults.{flag}
order by faults."row"
