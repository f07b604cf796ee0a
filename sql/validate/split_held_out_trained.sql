-- In: the table `histories` of a split of whole users. Out: one row a user with targets and training positions.
select user_id, train_length, targets
from histories
where targets > 0 and train_length > 0
order by "user"
