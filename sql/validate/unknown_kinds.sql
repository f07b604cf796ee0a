-- In: the table `labels` and the kinds that are known. Out: one row another kind of noise.
select noise_kind, interactions
from labels
where not list_contains({known}, noise_kind)
order by interactions desc, noise_kind
