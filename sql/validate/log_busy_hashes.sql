-- In: the view `parsed`, the microseconds in a unit of times that are numbers, the length of a span in microseconds,
-- how many events it may hold, and a number of hash values. Out: the table {busy}_hashes: the hashes of a user and
-- span that more events have. Counting by user and span itself would take far more memory.
create table {busy}_hashes as
select hash(user_id, coalesce(time_date, round(time_number * {scale})::bigint) // {length}) % {values}::ubigint as hashed
from parsed
group by hashed
having count(*) > {most}
