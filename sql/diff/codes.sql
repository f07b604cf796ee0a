-- In: the same Parquet table of two snapshots, {a} and {b}, with an {index} and a raw {id}. Out: the table {codes}:
-- one row a raw id of either, with its index in each (null where it has none) and a code in the order of the first.
CREATE TABLE {codes} AS
SELECT
    coalesce(a.{id}, b.{id}) AS id,
    a.{index} AS in_a,
    b.{index} AS in_b,
    row_number() OVER (ORDER BY a.{index} NULLS LAST, b.{index}) AS code
FROM read_parquet({a}) AS a
FULL JOIN read_parquet({b}) AS b ON a.{id} = b.{id}
