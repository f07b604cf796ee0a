-- In: the table `histories`, where the last event of a held-out user is the target. Out: one row a held-out user
-- of whom it is not.
select user_id, events, targets, last_target
from histories
where targets > 0 and (last_target <> events - 1 or targets <> 1)
order by "user"
