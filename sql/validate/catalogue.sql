-- In: interactions, users, items. Out: the table `catalogue`: of each item how many events have it, and how many
-- of those may be trained on.
create table catalogue as
select
    items.item,
    items.item_id,
    coalesce(log.events, 0) as events,
    coalesce(log.training, 0) as training
from items
left join (
    select item, count(*) as events, count(*) filter (position < train_length) as training
    from interactions
    join users using ("user")
    group by item
) as log on log.item = items.item
