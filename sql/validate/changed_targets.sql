-- In: targets, clean_targets. Out: one row a target that is not the clean snapshot's, by number, user, item and split.
select
    coalesce(targets.target, clean.target) as target, users.user_id, items.item_id, targets.split,
    clean_users.user_id as user_id_in_clean, clean_items.item_id as item_id_in_clean, clean.split as split_in_clean
from targets
full join clean_targets as clean on clean.target = targets.target
left join users on users."user" = targets."user"
left join items on items.item = targets.item
left join clean_users on clean_users."user" = clean."user"
left join clean_items on clean_items.item = clean.item
where targets."user" is distinct from clean."user" or targets.item is distinct from clean.item
    or targets.split is distinct from clean.split
order by 1
