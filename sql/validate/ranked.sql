-- In: targets, interactions. Out: the table `ranked`: the targets, each with the item and time of the user's
-- interaction at its position.
create table ranked as
select targets.*, log.item as item_found, log.time
from targets
left join interactions as log on log."user" = targets."user" and log.position = targets.history
