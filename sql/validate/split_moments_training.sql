-- In: the tables `histories` and `ranked` of a temporal split. Out: one row a user with a training event that is not
-- earlier than every target.
select user_id, last_training_time, first_target_time
from histories
join (select min(time) as first_target_time from ranked) on last_training_time >= first_target_time
order by last_training_time desc, "user"
