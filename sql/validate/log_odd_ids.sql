-- In: a table {ids} of ids, its column {id}; the greatest length and the words that stand for no id, in small letters.
-- Out: one row an id that is longer, has a blank or a control character at an end, is such a word, or is a whole number
-- with .0 that is there without it too, or that all others are like: integers that a program wrote as it does numbers.
select '«' || left({ids}.{id}, 60) || '»' as {id}, length({ids}.{id}) as characters, events, first_row
from {ids}
where length({ids}.{id}) > {longest}
    or regexp_matches({ids}.{id}, '^[\s\pZ\pC]|[\s\pZ\pC]$')
    or list_contains({words}, lower({ids}.{id}))
    or (
        regexp_full_match({ids}.{id}, '-?[0-9]+\.0')
        and (
            left({ids}.{id}, -2) in (select plain.{id} from {ids} as plain)
            or (select bool_and(regexp_full_match(one.{id}, '-?[0-9]+\.0')) from {ids} as one)
        )
    )
order by events desc, first_row
