-- In: items (item, item_id), interactions (user, item, position), users (user, train_length).
-- Out: one row an item that no training interaction has.
select items.item, items.item_id
from {batch} as items
where items.item not in (
    select log.item
    from interactions as log
    join users using ("user")
    where log.position < users.train_length and log.item is not null
)
order by items.item
