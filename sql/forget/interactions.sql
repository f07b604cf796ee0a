-- In: a snapshot's {interactions}, and the tables `users` and `items` of what stays. Out: the view `interactions`
-- of their events, with the new numbers.
CREATE VIEW interactions AS
SELECT u."user", i.item, e."time", e.position, e.noise_kind
FROM read_parquet({interactions}) AS e
JOIN users AS u ON u.old_user = e."user"
JOIN items AS i ON i.old_item = e.item
