-- In: interactions, users, targets. Out: the table `histories`: of each user of the users table the number of
-- events, when they begin and end, when the training part ends, and where the targets lie.
create table histories as
select
    users."user",
    users.user_id,
    users.train_length,
    coalesce(log.events, 0) as events,
    log.first_time,
    log.last_training_time,
    held.first_target,
    held.last_target,
    coalesce(held.targets, 0) as targets,
    coalesce(held.validation, 0) as validation,
    coalesce(held.promotion, 0) as promotion,
    coalesce(held.test, 0) as test
from users
left join (
    select
        interactions."user",
        count(*) as events,
        min(time) as first_time,
        max(time) filter (position < train_length) as last_training_time
    from interactions
    join users using ("user")
    group by interactions."user"
) as log on log."user" = users."user"
left join (
    select
        "user",
        min(history) as first_target,
        max(history) as last_target,
        count(*) as targets,
        count(*) filter (split = 'validation') as validation,
        count(*) filter (split = 'promotion') as promotion,
        count(*) filter (split = 'test') as test
    from targets
    group by "user"
) as held on held."user" = users."user"
