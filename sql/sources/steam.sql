-- In: Steam reviews, one Python dictionary a line, and what {line} numbers lines by.
-- Out: one row a line, in the file's order, and the line's number; NULL where the log lacks a column, or where the
-- line is no dictionary of texts, numbers, constants and lists and dictionaries nested three deep at most.
WITH "lines" AS (
    SELECT
        text,
        {line} AS line
    FROM read_csv(
        {path},
        auto_detect = false,
        columns = struct_pack(text := 'VARCHAR'),
        header = false,
        -- A character that Python's repr never leaves in a text: the line is one field.
        delim = chr(1),
        quote = '',
        escape = '',
        compression = {compression}
    )
), parsed AS (
    SELECT
        text,
        line,
        -- Entries `key: value`. What looks like an entry inside a review's text is part of a longer match.
        regexp_extract_all(
            text,
            -- Built of constants by `replace`, for a pattern that DuckDB does not see as one is compiled for every row.
            replace(
                replace(
                    replace(
                        replace(
                            replace(
                                'TEXT: (?:TEXT|NEST|[^''"\[\]{{}}(),:]+)',
                                'NEST',
                                '[\[{{(](?:TEXT|NEST|[^''"\[\]{{}}()])*[\]}})]'
                            ),
                            'NEST',
                            '[\[{{(](?:TEXT|NEST|[^''"\[\]{{}}()])*[\]}})]'
                        ),
                        'NEST',
                        '[\[{{(](?:TEXT|NEST|[^''"\[\]{{}}()])*[\]}})]'
                    ),
                    'NEST',
                    'TEXT'
                ),
                'TEXT',
                'u?(?:''(?:[^''\\]|\\.)*''|"(?:[^"\\]|\\.)*")'
            )
        ) AS entries
    FROM "lines"
    WHERE text IS NOT NULL
), "values" AS (
    SELECT
        line,
        list_transform(
            ['username', 'product_id', 'date', 'hours'],
            lambda key: substring(
                ltrim(
                    list_filter(
                        entries,
                        lambda entry: substring(ltrim(entry, 'u'), 2, length(key)) = key
                        AND substring(ltrim(entry, 'u'), length(key) + 3, 2) = ': '
                    )[-1],
                    'u'
                ),
                length(key) + 5
            )
        ) AS literals,
        -- Put together again, the entries are the line: nothing was passed over.
        '{{' || array_to_string(entries, ', ') || '}}' = trim(text) AS is_whole
    FROM parsed
), decoded AS (
    SELECT
        line,
        is_whole,
        list_transform(
            literals,
            lambda literal: CASE
                WHEN literal = 'None' THEN NULL
                WHEN NOT regexp_matches(literal, '^u?[''"]') THEN literal
                WHEN NOT contains(literal, '\') THEN substring(ltrim(literal, 'u'), 2, length(ltrim(literal, 'u')) - 2)
                ELSE array_to_string(
                    list_transform(
                        regexp_extract_all(
                            substring(ltrim(literal, 'u'), 2, length(ltrim(literal, 'u')) - 2),
                            '\\u[dD][89abAB][0-9a-fA-F]{{2}}\\u[dD][c-fC-F][0-9a-fA-F]{{2}}|\\u[0-9a-fA-F]{{4}}'
                            || '|\\U[0-9a-fA-F]{{8}}|\\x[0-9a-fA-F]{{2}}|\\.|[^\\]+'
                        ),
                        lambda piece: CASE
                            WHEN NOT starts_with(piece, '\') THEN piece
                            -- Two halves of a character beyond 16 bits, as Python 2 wrote them on some systems.
                            WHEN length(piece) = 12 THEN chr(
                                65536
                                + (('0x' || piece[3:6])::INTEGER - 55296) * 1024
                                + ('0x' || piece[9:12])::INTEGER - 56320
                            )
                            -- Half a character is none: it stays as it is written.
                            WHEN regexp_matches(piece, '^\\u[dD][89a-fA-F]') THEN piece
                            WHEN length(piece) > 2 THEN chr(('0x' || piece[3:])::INTEGER)
                            WHEN piece = '\n' THEN chr(10)
                            WHEN piece = '\r' THEN chr(13)
                            WHEN piece = '\t' THEN chr(9)
                            ELSE piece[2:]
                        END
                    ),
                    ''
                )
            END
        ) AS texts
    FROM "values"
)
SELECT
    CASE WHEN is_whole THEN texts[1] END AS user_id,
    CASE WHEN is_whole THEN texts[2] END AS item_id,
    CASE WHEN is_whole THEN texts[3] END AS time_text,
    NULL::VARCHAR AS order_text,
    CASE WHEN is_whole THEN texts[4] END AS rating_text,
    NULL::VARCHAR AS noise_text,
    line
FROM decoded
