-- In: targets, the table `catalogue`, users. Out: one row a target whose item no training interaction has.
select targets.target, users.user_id, catalogue.item_id, targets.split
from targets
join catalogue using (item)
left join users using ("user")
where catalogue.training = 0
order by targets.target
