-- In:  a snapshot's interactions.parquet, users.parquet and items.parquet, and those of the snapshot that a model was
--      trained on.
-- Out: trained, how many of the first events of every user are those of the training part there, by user.
with trained_on as (
    select users.user_id, interactions.position, items.item_id
    from read_parquet({trained_on_interactions}) as interactions
    join read_parquet({trained_on_users}) as users using (user)
    join read_parquet({trained_on_items}) as items using (item)
    where interactions.position < users.train_length
)
select coalesce(min(interactions.position) filter (where trained_on.item_id is null), count(*)) as trained
from read_parquet({interactions}) as interactions
join read_parquet({users}) as users using (user)
join read_parquet({items}) as items using (item)
left join trained_on using (user_id, position, item_id)
group by users.user
order by users.user
