-- In: interactions, the table `histories`; the kind put in on purpose. Out: one row an interaction of that kind from
-- the user's first target on, where no noise may be.
select histories.user_id, items.item_id, log.position, histories.first_target, log.noise_kind
from interactions as log
join histories using ("user")
left join items using (item)
where log.noise_kind = {kind} and log.position >= histories.first_target
order by log."user", log.position
