-- In: interactions (user, item, time).
-- Out: one row an interaction that repeats the user's item at the same time; the first of its kind is not one.
select "user", position, item, time
from {batch}
where time is not null
qualify row_number() over (partition by "user", item, time order by position) > 1
order by "user", position
