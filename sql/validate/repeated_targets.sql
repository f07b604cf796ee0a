-- In: targets (user, split) of a leave-one-out split.
-- Out: one row a user and split with more than one target.
select "user", split, count(*) as targets_found
from {batch}
group by "user", split
having count(*) > 1
order by "user", split
