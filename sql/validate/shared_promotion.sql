-- In: the table `histories`. Out: one row a user who is in validation and in promotion.
select user_id, validation, promotion
from histories
where validation > 0 and promotion > 0
order by "user"
