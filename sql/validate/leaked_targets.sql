-- In: targets, the table `histories`. Out: one row a target that lies among the user's training positions.
select targets.target, histories.user_id, items.item_id, targets.history, histories.train_length
from targets
left join histories using ("user")
left join items using (item)
where histories.train_length is null or targets.history is null or targets.history < histories.train_length
order by targets.target
