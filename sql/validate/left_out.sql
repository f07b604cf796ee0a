-- In: interactions, clean_interactions; how many interactions the manifest says were left out. Out: one row where it is
-- another number.
select given, kept, {left_out} as left_out_by_manifest
from (select count(*) as given from clean_interactions) as clean, (select count(*) as kept from interactions) as found
where given - kept <> {left_out}
