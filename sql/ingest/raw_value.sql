-- In: the table `log`, $row (1-based) and the {column} wanted. Out: that row's value as text.
SELECT {column}::VARCHAR FROM log WHERE rowid = $row - 1
