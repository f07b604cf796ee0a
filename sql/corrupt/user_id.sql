-- In: the snapshot's {users} and $user. Out: that user's raw id.
SELECT user_id FROM read_parquet({users}) WHERE "user" = $user
