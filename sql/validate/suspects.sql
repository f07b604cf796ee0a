-- In: the snapshot's interactions in the file's order, which DuckDB keeps; the greatest user and item index; whether
-- the log has times and labels, and whether repeated items are allowed next to each other; the plausible times.
-- Out: the table `suspects`: every interaction that breaks a rule of its own or against the one before it in the
-- file, with a flag for each rule. One pass, so that twenty checks cost one.
create table suspects as
select *
from (
    select
        "user", item, time, position, noise_kind, position_before, time_before, expected_position,
        "user" is null as no_user,
        item is null as no_item,
        position is null as no_position,
        $has_times and time is null as no_time,
        not $has_times and time is not null as unexpected_time,
        not $labelled and noise_kind is not null as unexpected_label,
        "user" < 0 or "user" > $last_user as unknown_user,
        item < 1 or item > $last_item as unknown_item,
        "user" < user_before or (same_user and position < position_before) as disordered,
        same_user and position = position_before as repeated,
        position > expected_position as gap,
        same_user and time < time_before as backwards,
        time < $earliest or time > $latest as implausible_time,
        not $consecutive and same_user and item = item_before as same_item
    from (
        select
            *,
            "user" = user_before as same_user,
            case when "user" = user_before then position_before + 1 else 0 end as expected_position
        from (
            select
                *,
                lag("user") over () as user_before,
                lag(item) over () as item_before,
                lag(position) over () as position_before,
                lag(time) over () as time_before
            from interactions
        )
    )
)
where
    no_user or no_item or no_position or no_time or unexpected_time or unexpected_label or unknown_user
    or unknown_item or disordered or repeated or gap or backwards or implausible_time or same_item
