-- In:  the clean snapshot's items.parquet; `offered`, one row an item: item, lists, users, self_information.
-- Out: one row an item of the catalogue, also of those never offered: item, item_id (the raw one), lists (on test in how
--      many lists it stands), users (how many have it in the clean log's training part), self_information (of it, in bits).
select item, items.item_id, offered.lists, offered.users, offered.self_information
from read_parquet({items}) as items
join offered using (item)
order by item
