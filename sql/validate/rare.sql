-- In: the table `histories` or `catalogue` as {counted}, its {id}; the number of events that was asked for.
-- Out: one row a user or item with fewer.
select {id}, events, {least} as asked
from {counted}
where events < {least}
order by events, {id}
