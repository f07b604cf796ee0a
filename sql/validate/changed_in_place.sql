-- In: interactions, clean_interactions; a kind of noise that leaves every event in its place. Out: one row an event
-- that is not at the clean snapshot's place and time, or has another item or label and is not of that kind.
select
    users.user_id, found.position, items.item_id, clean_items.item_id as item_id_in_clean, found.time,
    clean.time as time_in_clean, found.noise_kind
from (select * from interactions) as found
positional join (select * from clean_interactions) as clean
left join users on users."user" = coalesce(found."user", clean."user")
left join items on items.item = found.item
left join clean_items on clean_items.item = clean.item
where found."user" is distinct from clean."user"
    or found.position is distinct from clean.position
    or found.time is distinct from clean.time
    or (
        found.noise_kind is distinct from {kind}
        and (found.item is distinct from clean.item or found.noise_kind is distinct from clean.noise_kind)
    )
