-- In: the snapshot's {items}. Out: the view `items`, the same: noise leaves the catalogue alone.
CREATE VIEW items AS
SELECT * FROM read_parquet({items})
