-- In: the snapshot's interactions in the file's order. Out: the table `ties`: those at the same time as the user's
-- interaction before or after them, among which alone an event can be repeated.
create table ties as
select "user", item, time, position
from (
    select
        *,
        lag("user") over () as user_before, lag(time) over () as time_before,
        lead("user") over () as user_after, lead(time) over () as time_after
    from interactions
)
where ("user" = user_before and time = time_before) or ("user" = user_after and time = time_after)
