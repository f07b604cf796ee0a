-- In: interactions, users, targets. Out: the table `labels`: by kind of noise the number of interactions, of those
-- that may be trained on, and of those before the user's first target, which are open to corruption.
create table labels as
select
    noise_kind,
    count(*) as interactions,
    count(*) filter (position < train_length) as training,
    count(*) filter (first_target is null or position < first_target) as open
from interactions
join users using ("user")
left join (select "user", min(history) as first_target from targets group by "user") using ("user")
where noise_kind is not null
group by noise_kind
