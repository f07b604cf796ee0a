-- In: the table `log`, $row (1-based) and the {column} wanted. Out: that row's text.
SELECT {column} FROM log WHERE rowid = $row - 1
