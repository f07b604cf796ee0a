-- In: the table `histories` of a leave-one-out split. Out: one row a ranked user who has not one test target on the
-- last event and one validation or promotion target on the event before it, or who trains on either.
select user_id, events, train_length, validation, promotion, test, first_target, last_target
from histories
where targets > 0
    and not (
        test = 1 and validation + promotion = 1
        and last_target = events - 1 and first_target = events - 2 and train_length = events - 2
    )
order by "user"
