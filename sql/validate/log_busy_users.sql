-- In: what log_busy_hashes takes, and the table that it makes. Out: the table {busy}: each user and span with more
-- events.
create table {busy} as
select user_id, part * {length} as since, count(*) as events
from (
    select *, hash(user_id, part) % {values}::ubigint as hashed
    from (
        select user_id, coalesce(time_date, round(time_number * {scale})::bigint) // {length} as part
        from parsed
    )
)
semi join {busy}_hashes using (hashed)
group by user_id, part
having count(*) > {most}
