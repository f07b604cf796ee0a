-- In: interactions (user, time in microseconds since 1970 UTC); how many events a day are possible.
-- Out: one row a user and UTC day with more, most events first.
select "user", cast(try(date '1970-01-01' + cast(day as integer)) as varchar) as date, events
from (
    select "user", time // 86400000000 as day, count(*) as events
    from {batch}
    where time is not null
    group by all
)
where events > {most}
order by events desc, "user", day
