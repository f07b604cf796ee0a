-- In: interactions (user, position, time); the plausible range as microseconds since 1970 UTC.
-- Out: one row an interaction outside it, with its time in words where that can be written as a date.
select "user", position, time, cast(try(make_timestamp(time)) as varchar) as date
from {batch}
where time < {earliest} or time > {latest}
order by "user", position
