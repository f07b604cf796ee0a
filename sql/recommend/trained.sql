-- In:  a snapshot's interactions.parquet, users.parquet and items.parquet, and those of the snapshot that a model was
--      trained on.
-- Out: trained, how many of the first events of every user are those of the training part there, by user.
with learned as (
    select users.user_id, interactions.position, items.item_id
    from read_parquet({learned_interactions}) as interactions
    join read_parquet({learned_users}) as users using (user)
    join read_parquet({learned_items}) as items using (item)
    where interactions.position < users.train_length
)
select coalesce(min(interactions.position) filter (where learned.item_id is null), count(*)) as trained
from read_parquet({interactions}) as interactions
join read_parquet({users}) as users using (user)
join read_parquet({items}) as items using (item)
left join learned using (user_id, position, item_id)
group by users.user
order by users.user
