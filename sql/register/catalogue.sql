-- In:  a snapshot's items.parquet, interactions.parquet and users.parquet.
-- Out: item_id, popularity (training interactions) of every item, by item.
select items.item_id, count(training.item) as popularity
from read_parquet({items}) as items
left join (
    select interactions.item
    from read_parquet({interactions}) as interactions
    join read_parquet({users}) as users using (user)
    where interactions.position < users.train_length
) as training using (item)
group by items.item, items.item_id
order by items.item
