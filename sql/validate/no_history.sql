-- In: the table `ranked`. Out: one row a target that no interaction of its user comes before.
select ranked.target, users.user_id, items.item_id, ranked.split, ranked.history
from ranked
left join users using ("user")
left join items on items.item = ranked.item
where ranked.history < 1
order by ranked.target
