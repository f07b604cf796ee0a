-- In: targets; the manifest's number of targets of each split. Out: one row a split whose number differs.
select manifest.split, manifest.targets as manifest, count(targets.split) as found
from (
    values ('validation', {validation}), ('promotion', {promotion}), ('test', {test})
) as manifest(split, targets)
left join targets on targets.split = manifest.split
group by manifest.split, manifest.targets
having count(targets.split) <> manifest.targets
order by manifest.split
