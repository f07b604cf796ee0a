-- In: interactions (user, position).
-- Out: one row a user and position that occurs more than once.
select "user", position, count(*) + 1 as times_found
from (
    select "user", position, lag(position) over (partition by "user" order by position) as position_before
    from {batch}
)
where position = position_before
group by "user", position
order by "user", position
