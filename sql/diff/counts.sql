-- In: the table `changes`. Out: each change with how many events and how many users it is about.
SELECT change, count(*) AS events, count(DISTINCT user_code) AS users
FROM changes
GROUP BY change
