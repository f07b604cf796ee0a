-- In: the table {busy}. Out: one row a user and span with more events than a person can make, most events first.
select user_id, cast(try(make_timestamp(since)) as varchar) as since, events
from {busy}
order by events desc, user_id
