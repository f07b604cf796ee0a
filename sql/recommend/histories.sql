-- In:  a snapshot's interactions.parquet, users.parquet and items.parquet.
-- Out: user_id, history (raw item ids, oldest first), times (microseconds since 1970, as many) of every user, by user.
select
    users.user_id,
    list(items.item_id order by interactions.position) as history,
    list(interactions.time order by interactions.position) as times
from read_parquet({interactions}) as interactions
join read_parquet({users}) as users using (user)
join read_parquet({items}) as items using (item)
group by users.user, users.user_id
order by users.user
