-- In: the table `ordered`, and the expressions {time} and {noise_kind} over it. Out: the view `interactions`: every event
-- with its position within its user, by user and position.
CREATE VIEW interactions AS
SELECT
    "user",
    item,
    {time} AS "time",
    rowid - first_row AS position,
    {noise_kind} AS noise_kind
FROM ordered
