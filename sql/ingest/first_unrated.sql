-- In: the view `parsed`. Out: one row: the first row without a number for a rating (NULL where every row has one).
SELECT min("row") FROM parsed WHERE rating IS NULL
