-- In: interactions, the table `histories`; the kind of noise that was taken out again. Out: one row an interaction of
-- that kind that is still there though its user has another open one.
select histories.user_id, items.item_id, log.position, histories.first_target, log.noise_kind
from interactions as log
join histories using ("user")
left join items using (item)
where log.noise_kind = {kind} and coalesce(histories.first_target, histories.events) > 1
order by log."user", log.position
