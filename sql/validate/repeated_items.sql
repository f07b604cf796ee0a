-- In: interactions. Out: one row a user and item that occur together more than once.
select user_id, item_id, times_found
from (
    select "user", item, count(*) as times_found
    from interactions
    group by "user", item
    having count(*) > 1
)
left join users using ("user")
left join items using (item)
order by "user", item
