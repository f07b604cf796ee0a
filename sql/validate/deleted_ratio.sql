-- In: interactions, clean_interactions, the table `clean_open` of the clean snapshot's open events; the ratio asked
-- for and the manifest's. Out: one row with the share of the open events that are gone where it is further from the
-- ratio asked for than the tolerance and two events, or is not the manifest's.
select
    'delete' as noise_kind, {asked} as ratio_asked, {manifest} as ratio_in_manifest, gone / events as ratio_found,
    gone as deleted_events, events as open_events
from (
    select
        (select count(*) from clean_interactions) - (select count(*) from interactions) as gone,
        (select sum(open_length) from clean_open) as events
)
where events > 0
    and (
        abs(gone / events - {asked}) > {tolerance} + 2 / events
        or abs(gone / events - coalesce({manifest}, -1)) > 1e-9
    )
