-- In: the table `ranked` of a temporal split. Out: one row a validation or promotion target that is not earlier than
-- every test target.
select ranked.target, users.user_id, ranked.split, ranked.time, first_test_time
from ranked
join (
    select min(time) as first_test_time from ranked where split = 'test'
) on ranked.time >= first_test_time
left join users using ("user")
where ranked.split <> 'test'
order by ranked.target
