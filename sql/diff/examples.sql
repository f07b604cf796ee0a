-- In: the tables `changes`, `user_codes` and `item_codes`, $change and $few. Out: the first $few events of that
-- change: the raw ids of user and item in each snapshot, the position, and the noise kind in each.
SELECT u.id, a.id, b.id, c.position, c.noise_a, c.noise_b
FROM (
    SELECT * FROM changes WHERE change = $change ORDER BY user_code, position LIMIT $few
) AS c
JOIN user_codes AS u ON c.user_code = u.code
LEFT JOIN item_codes AS a ON c.item_a = a.code
LEFT JOIN item_codes AS b ON c.item_b = b.code
ORDER BY c.user_code, c.position
