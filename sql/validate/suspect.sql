-- In: the table `suspects`, one of its flags and the columns to show. Out: one row an interaction with that flag,
-- with the raw ids of its user and item.
select users.user_id, items.item_id, {columns}
from suspects
left join users on users."user" = suspects."user"
left join items on items.item = suspects.item
where suspects.{flag}
order by suspects."user", suspects.position
