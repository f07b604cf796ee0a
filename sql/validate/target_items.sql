-- In: the table `ranked`. Out: one row a target whose item is not the user's interaction at its position.
select ranked.target, users.user_id, ranked.history, items.item_id, found.item_id as item_id_found
from ranked
left join users using ("user")
left join items on items.item = ranked.item
left join items as found on found.item = ranked.item_found
where ranked.item_found is distinct from ranked.item
order by ranked.target
