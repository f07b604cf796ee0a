-- In:  a snapshot's interactions.parquet, users.parquet and items.parquet; $user, a raw id.
-- Out: item_id, time (microseconds since 1970, null without times), noise_kind (null where it is not known to be noise),
--      is_trained (is it in the training part?) of the user's events, oldest first; no row for an unknown user.
select
    items.item_id,
    interactions.time,
    interactions.noise_kind,
    interactions.position < users.train_length as is_trained
from read_parquet({interactions}) as interactions
join read_parquet({users}) as users using (user)
join read_parquet({items}) as items using (item)
where users.user_id = $user
order by interactions.position
