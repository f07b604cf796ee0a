-- In: interactions, clean_interactions; a kind of noise that puts events in. Out: one row a user whose events that are
-- not of that kind are not the clean snapshot's: by their number, or by the sum of a hash of each.
with found as (
    select "user", count(*) as events, sum(hash(item, time, noise_kind)) as content
    from interactions
    where noise_kind is distinct from {kind}
    group by "user"
),
clean as (
    select "user", count(*) as events, sum(hash(item, time, noise_kind)) as content
    from clean_interactions
    group by "user"
)
select users.user_id, found.events, clean.events as events_in_clean
from found
full join clean on clean."user" = found."user"
left join users on users."user" = coalesce(found."user", clean."user")
where found.events is distinct from clean.events or found.content is distinct from clean.content
order by coalesce(found."user", clean."user")
