-- In: the table `histories` of a split of whole users. Out: one row a user with targets in test and another split.
select user_id, validation, promotion, test
from histories
where test > 0 and validation + promotion > 0
order by "user"
