-- In: the table `histories`, where every event of a held-out user after the first is a target. Out: one row a
-- held-out user with a gap among the targets, or whose last event is none.
select user_id, events, targets, first_target, last_target
from histories
where targets > 0 and (last_target <> events - 1 or targets <> last_target - first_target + 1)
order by "user"
