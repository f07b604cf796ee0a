-- In: the snapshot's {users} and $prefix. Out: the largest whole number that a raw id is after that prefix;
-- NULL where none is.
SELECT max(try_cast(user_id[len($prefix) + 1:] AS HUGEINT))::VARCHAR AS largest
FROM read_parquet({users})
WHERE starts_with(user_id, $prefix) AND regexp_full_match(user_id[len($prefix) + 1:], '-?[0-9]+')
