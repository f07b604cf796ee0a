-- In: the tables `histories` and `labels`; the kind put in on purpose, the ratio asked for and the manifest's.
-- Out: one row with the kind's share of the open events where it is further from the ratio asked for than the
-- tolerance and two events, or is not the manifest's.
select
    {kind} as noise_kind, {asked} as ratio_asked, {manifest} as ratio_in_manifest, noisy / events as ratio_found,
    noisy as noisy_events, events as open_events
from (
    select
        (select coalesce(sum(open), 0) from labels where noise_kind = {kind}) as noisy,
        (select sum(coalesce(first_target, events)) from histories) as events
)
where events > 0
    and (
        abs(noisy / events - {asked}) > {tolerance} + 2 / events
        or abs(noisy / events - coalesce({manifest}, -1)) > 1e-9
    )
