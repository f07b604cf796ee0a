-- In: clean_interactions, clean_targets. Out: the table `clean_open`: of each of the clean snapshot's users the number
-- of events, the position of the first target and how many events are open to corruption.
create table clean_open as
select log."user", events, first_target, coalesce(first_target, events) as open_length
from (select "user", count(*) as events from clean_interactions group by "user") as log
left join (
    select "user", min(history) as first_target from clean_targets group by "user"
) as held on held."user" = log."user"
