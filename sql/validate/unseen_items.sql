-- In: the table `catalogue`. Out: one row an item that no training interaction has.
select item_id, events
from catalogue
where training = 0
order by item
