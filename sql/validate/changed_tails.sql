-- In: interactions, clean_interactions, the tables `histories` and `clean_open`. Out: one row an event from the user's
-- first target on that is not the clean snapshot's, counted from there.
with found as (
    select log."user", position - first_target as place, item, time, noise_kind
    from interactions as log
    join histories using ("user")
    where position >= first_target
),
clean as (
    select log."user", position - first_target as place, item, time, noise_kind
    from clean_interactions as log
    join clean_open using ("user")
    where position >= first_target
)
select
    users.user_id, coalesce(found.place, clean.place) as events_after_first_target,
    items.item_id, clean_items.item_id as item_id_in_clean, found.time, clean.time as time_in_clean
from found
full join clean on clean."user" = found."user" and clean.place = found.place
left join users on users."user" = coalesce(found."user", clean."user")
left join items on items.item = found.item
left join clean_items on clean_items.item = clean.item
where found.item is distinct from clean.item or found.time is distinct from clean.time
    or found.noise_kind is distinct from clean.noise_kind
order by coalesce(found."user", clean."user"), 2
