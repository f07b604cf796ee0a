-- In: the table `ties`. Out: one row an interaction that repeats the user's item at the same time; the first of its
-- kind is not one.
select user_id, item_id, found.position, found.time
from (
    select *
    from ties
    qualify row_number() over (partition by "user", item, time order by position) > 1
) as found
left join users using ("user")
left join items using (item)
order by "user", position
