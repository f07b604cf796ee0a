-- In: the view `parsed`, $scale, and $parts: how many users one user stands for. Out: the table `sampled`: the events
-- of the users whose id hashes to the first part, with their times in microseconds since 1970 UTC.
create table sampled as
select
    "row", user_id, item_id, coalesce(time_date, round(time_number * $scale)::bigint) as time, order_number,
    order_integer
from parsed
where hash(user_id) % $parts::ubigint = 0  -- the division of 128-bit integers is ten times slower
