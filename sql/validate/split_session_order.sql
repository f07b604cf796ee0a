-- In: the table `histories` of a split of sessions with times. Out: one row a user who begins after a user of a later
-- part: training before validation (and promotion) before test.
with parts as (
    select
        user_id, first_time,
        case when test > 0 then 2 when validation + promotion > 0 then 1 else 0 end as part
    from histories
    where targets > 0 or train_length > 0
),
begins as (
    select part, min(first_time) as earliest from parts group by part
)
select user_id, first_time, min(earliest) as later_part_begins
from parts
join begins on begins.part > parts.part and begins.earliest < parts.first_time
group by user_id, first_time
order by first_time desc, user_id
