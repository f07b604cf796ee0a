-- In: items, clean_items. Out: one row an item that is not the clean snapshot's.
select coalesce(items.item, clean.item) as item, items.item_id, clean.item_id as item_id_in_clean
from items
full join clean_items as clean on clean.item = items.item
where items.item_id is distinct from clean.item_id
order by 1
