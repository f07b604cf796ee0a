-- In: interactions, clean_interactions; the kind of noise that was put in before and may be left ('' for none). Out: one
-- row a user and event, but for that noise, that are there more often than in the clean snapshot, from which events
-- were only taken away. A user of whom nothing was taken is compared by a sum of hashes, the others event by event.
with found as (
    select "user", count(*) as events, sum(hash(item, time, noise_kind)) as content
    from interactions
    group by "user"
),
clean as (
    select "user", count(*) as events, sum(hash(item, time, noise_kind)) as content
    from clean_interactions
    group by "user"
),
touched as (
    select found."user"
    from found
    left join clean using ("user")
    where found.content is distinct from clean.content
),
kept as (
    select "user", item, time, noise_kind, count(*) as times_found
    from interactions
    where "user" in (select "user" from touched) and noise_kind is distinct from {kind}
    group by all
),
given as (
    select "user", item, time, noise_kind, count(*) as times_in_clean
    from clean_interactions
    where "user" in (select "user" from touched)
    group by all
)
select users.user_id, items.item_id, kept.time, times_found, coalesce(times_in_clean, 0) as times_in_clean
from kept
left join given
    on given."user" = kept."user" and given.item = kept.item
    and given.time is not distinct from kept.time and given.noise_kind is not distinct from kept.noise_kind
left join users on users."user" = kept."user"
left join items on items.item = kept.item
where times_found > coalesce(times_in_clean, 0)
order by kept."user", kept.time, kept.item
