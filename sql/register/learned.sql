-- In:  a snapshot's targets.parquet, interactions.parquet, users.parquet and items.parquet, and the last three of the
--      snapshot that a model was trained on; $split.
-- Out: how many of the split's targets the model was trained on: the training part there has the user with the item more
--      often than the target's history has it here.
with learned as (
    select users.user_id, items.item_id, count(*) as times
    from read_parquet({trained_on_interactions}) as interactions
    join read_parquet({trained_on_users}) as users using (user)
    join read_parquet({trained_on_items}) as items using (item)
    where interactions.position < users.train_length
    group by users.user_id, items.item_id
),
asked as (
    select targets.target, users.user_id, items.item_id, count(interactions.position) as times
    from read_parquet({targets}) as targets
    join read_parquet({users}) as users using (user)
    join read_parquet({items}) as items using (item)
    left join read_parquet({interactions}) as interactions
        on interactions.user = targets.user
        and interactions.item = targets.item
        and interactions.position < targets.history
    where targets.split = $split
    group by targets.target, users.user_id, items.item_id
)
select count(*)
from asked
join learned using (user_id, item_id)
where learned.times > asked.times
