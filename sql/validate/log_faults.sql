-- In: the view `parsed`; which columns the log has; the plausible times in microseconds since 1970 UTC and $scale, the
-- microseconds in a unit of times that are numbers; the plausible ratings. Out: the table `faults`: every row of the
-- log that breaks a rule, with a flag for each rule. One pass, so that all checks of rows cost one.
create table faults as
select *
from (
    select
        "row",
        user_id is null as no_user,
        item_id is null as no_item,
        $timed and time_number is null and time_date is null as no_time,
        $ordered and order_number is null as no_order,
        coalesce(time_date, time_number * $scale) not between $earliest and $latest as implausible_time,
        $rated and coalesce(rating not between $least_rating and $most_rating, true) as odd_rating
    from parsed
)
where no_user or no_item or no_time or no_order or implausible_time or odd_rating
