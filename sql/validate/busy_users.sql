-- In: interactions, the table `histories`; how many events a day are possible. Out: one row a user and UTC day with
-- more, most events first. Users with fewer events in all are left out before anything is counted by day.
select user_id, cast(try(date '1970-01-01' + cast(day as integer)) as varchar) as date, found.events
from (
    select "user", time // 86400000000 as day, count(*) as events
    from interactions
    where time is not null and "user" in (select "user" from histories where events > {most})
    group by all
    having count(*) > {most}
) as found
join histories using ("user")
order by found.events desc, user_id, day
