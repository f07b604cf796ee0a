-- In:  the audit's {interactions} and the column {id} to group by.
-- Out: one row an id, the most suspicious first: its judged interactions, how many of them are expected to be noise, their
--      mean probability of it, and how often they meet the items around them elsewhere, and would by chance.
SELECT
    {id} AS id,
    count(*) AS events,
    sum(noise_probability) AS expected_noise,
    avg(noise_probability) AS mean_probability,
    sum(meetings) AS meetings,
    sum(expected_meetings) AS expected_meetings
FROM read_parquet({interactions})
GROUP BY {id}
ORDER BY mean_probability DESC, events DESC, id
