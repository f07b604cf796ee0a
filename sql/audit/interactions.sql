-- In:  a snapshot's {interactions}, {users} and {items}; `judged`, one row a training interaction: user, position, noise,
--      neighbours, meetings, expected.
-- Out: one row a judged interaction by user and position, with raw ids: the probability that it is noise, how many events
--      stand near it and the items just before and after it, how often its item meets theirs elsewhere and how often it
--      would by chance, how many judged interactions its item has, and the label that the log gives it.
SELECT
    u.user_id,
    i.item_id,
    e."time",
    e."position",
    j.noise::DOUBLE AS noise_probability,
    j.neighbours::INTEGER AS neighbours,
    j.meetings::DOUBLE AS meetings,
    j.expected::DOUBLE AS expected_meetings,
    count(*) OVER (PARTITION BY e.item) AS item_events,
    lag(i.item_id) OVER history AS item_before,
    lead(i.item_id) OVER history AS item_after,
    e.noise_kind AS label,
    e."user"
FROM judged AS j
JOIN read_parquet({interactions}) AS e USING ("user", "position")
JOIN read_parquet({users}) AS u USING ("user")
JOIN read_parquet({items}) AS i USING (item)
WINDOW history AS (PARTITION BY e."user" ORDER BY e."position")
ORDER BY e."user", e."position"
