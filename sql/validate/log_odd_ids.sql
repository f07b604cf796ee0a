-- In: a table {ids} of ids, its column {id}; the greatest length and the words that stand for no id, in small letters.
-- Out: one row an id that is longer, has a blank or a control character at an end, or is such a word.
select '«' || left({ids}.{id}, 60) || '»' as {id}, length({ids}.{id}) as characters, events, first_row
from {ids}
where length({ids}.{id}) > {longest}
    or regexp_matches({ids}.{id}, '^[\s\pZ\pC]|[\s\pZ\pC]$')
    or list_contains({words}, lower({ids}.{id}))
order by events desc, first_row
