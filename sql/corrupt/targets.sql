-- In: the snapshot's {targets} and the relation `edited_users` (by how much each user's open interactions became
-- more). Out: the view `targets`: the same targets, with histories longer by that much.
CREATE VIEW targets AS
SELECT
    target,
    "user",
    item,
    split,
    history + growth AS history
FROM read_parquet({targets}) JOIN edited_users USING ("user")
