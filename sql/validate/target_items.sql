-- In: targets (target, user, item, history), interactions (user, position, item).
-- Out: one row a target whose item is not the user's interaction at position `history`.
select targets.target, targets."user", targets.history, targets.item, log.item as item_found
from {batch} as targets
left join interactions as log
    on log."user" = targets."user" and log.position = targets.history
where log.item is distinct from targets.item
order by targets.target
