-- In: interactions (user, position, time).
-- Out: one row an interaction that is earlier than the one before it of the same user.
select "user", position, time, time_before
from (
    select
        "user", position, time,
        lag(time) over (partition by "user" order by position) as time_before
    from {batch}
)
where time < time_before
order by "user", position
