-- In: interactions (user, position).
-- Out: one row a user whose positions do not run from 0 without gaps: the first position found after a gap
-- and the one expected in its place. Repeated positions are another check.
with found as (
    select distinct "user", position
    from {batch}
    where position is not null and "user" in (
        select "user" from {batch}
        group by "user"
        having min(position) <> 0 or max(position) <> count(position) - 1
    )
),
numbered as (
    select "user", position, row_number() over (partition by "user" order by position) - 1 as expected_position
    from found
)
select "user", min(position) as position, min(expected_position) as expected_position
from numbered
where position <> expected_position
group by "user"
order by "user"
