-- In: a table and its expected columns and their types, two lists in the same order.
-- Out: one row a column that is absent or has another type.
with expected as (
    select unnest({columns}) as column_name, unnest({types}) as expected_type
)
select expected.column_name, expected.expected_type, found.column_type as found_type
from expected
left join (select column_name, column_type from (describe {table})) as found
    on found.column_name = expected.column_name
where found.column_type is distinct from expected.expected_type
