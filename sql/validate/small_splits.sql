-- In: targets; the splits that were asked for and the least number of targets. Out: one row a split with fewer.
select asked.split, count(targets.split) as targets, {least} as least
from (select unnest({splits}) as split) as asked
left join targets on targets.split = asked.split
group by asked.split
having count(targets.split) < {least}
order by asked.split
