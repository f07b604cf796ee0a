-- In: interactions (user, position), read in the file's order, which DuckDB keeps.
-- Out: one row an interaction that is not stored after those of smaller users and positions: the
-- interaction before it in the file comes later in that order.
select "user", position, user_before, position_before
from (
    select
        "user", position,
        lag("user") over () as user_before,
        lag(position) over () as position_before
    from {batch}
)
where "user" < user_before or ("user" = user_before and position < position_before)
