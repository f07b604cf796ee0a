"""Logs in the formats of their owners: recognised, read to the letter, and refused where they are broken."""

import ast
import gzip
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.data_specs import Columns, SourceSpec
from tasks.engine import engine
from tasks.errors import InputError
from tasks.home import Home
from tasks.snapshots import Snapshot
from tasks.sources.formats import FORMATS, known_formats
from tasks.sources.layouts import described, recognise_all, untimed
from tasks.sources.loading import COLUMN_OF, Loaded, load
from tasks.sources.logs import log_of
from tasks.sources.reading import read_log
from tasks.sources.source import inspect_source, obtain_log

Write = Callable[..., Path]
Row = tuple[str | None, ...]

USER_2014, USER_2018 = "A3BY5KCNQZXV5U", "A1KLRMWW2FWPL4"
AMAZON_REVIEW = {
    "reviewerID": USER_2014,
    "asin": "0594451647",
    "reviewerName": 'Ma"t, é',
    "helpful": [3, 3],
    "reviewText": 'Great: {"asin": "x"}',
    "overall": 5.0,
    "unixReviewTime": 1390176000,
    "reviewTime": "01 20, 2014",
}
REVIEW_2023 = {
    "rating": 4.0,
    "title": "ünïcode, 'quoted'",
    "images": [{"small": "https://x/y.jpg"}],
    "asin": "B07SRWRH5D",
    "parent_asin": "B07SRWRH5E",
    "user_id": "AGCI7FAH4GL5FI65HYLKWTMFZ2CQ",
    "timestamp": 1587051114941,
    "verified_purchase": True,
}
STEAM = (
    "{u'username': u'Chaos \\u4e2d \\\\ \\'n\\' \\xe9', u'product_id': u'725280', u'page': 0, u'date': u'2017-12-17', "
    "u'hours': 22.5, u'early_access': False, u'compensation': None, u'text': u\"It's {u'username': u'x', ok\\n\"}\n"
    "{u'username': u\"o'Neill\", u'found_funny': 2, u'product_id': u'0070', u'date': u'2018-01-04', "
    "u'text': u', u\\'username\\': u\\'me\\'', u'nested': {u'a': [1, u'b]']}}\n"
)
KUAIREC = (
    "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio\n"
    "0,3649,13838,10867,2020-07-05 00:08:23.438,20200705,1593878903.438,1.273397\n"
    "0,2110,4381,6067,,,,0.72\n"
    "14,183,11635,100298,2020-07-05 00:13:41.297,20200705.0,1593879221.297,0.116\n"
)

PUBLISHED: dict[str, tuple[str, str, list[Row]]] = {
    "movielens-100k": (
        "u.data",
        "196\t242\t3\t881250949\n186\t302\t3\t891717742\n186\t302\t3\t891717742\n",
        [("196", "242", "881250949", "3"), *[("186", "302", "891717742", "3")] * 2],
    ),
    "movielens-1m": (
        "ratings.dat",
        "1::1193::5::978300760\n1::0122::0.5::838985046\n",
        [("1", "1193", "978300760", "5"), ("1", "0122", "838985046", "0.5")],
    ),
    "movielens-csv": (
        "ratings.csv",
        "userId,movieId,rating,timestamp\n1,307,3.5,1256677221\n9223372036854775807,481,3.5,1256677456\n",
        [("1", "307", "1256677221", "3.5"), ("9223372036854775807", "481", "1256677456", "3.5")],
    ),
    "amazon-json": (
        "reviews_Video_Games_5.json",
        json.dumps(AMAZON_REVIEW) + "\n" + json.dumps(AMAZON_REVIEW | {"asin": "B00O'\"é", "overall": 1.0}) + "\n",
        [(USER_2014, "0594451647", "1390176000", "5.0"), (USER_2014, "B00O'\"é", "1390176000", "1.0")],
    ),
    "amazon-2014-csv": (
        "ratings_Video_Games.csv",
        f"{USER_2014},0132793040,5.0,1365811200\nA2CX7LUOHB2NDG,B00004Y570,1.0,959904000\n",
        [(USER_2014, "0132793040", "1365811200", "5.0"), ("A2CX7LUOHB2NDG", "B00004Y570", "959904000", "1.0")],
    ),
    "amazon-2018-csv": (
        "Video_Games.csv",
        f"0439381673,{USER_2018},2.0,1405296000\nB000FRU0NU,A21ROB4YDOZA5P,1.0,1404432000\n",
        [(USER_2018, "0439381673", "1405296000", "2.0"), ("A21ROB4YDOZA5P", "B000FRU0NU", "1404432000", "1.0")],
    ),
    "amazon-2023-json": (
        "Video_Games.jsonl",
        json.dumps(REVIEW_2023) + "\n" + json.dumps(REVIEW_2023 | {"rating": 1.0}, ensure_ascii=False) + "\n",
        [("AGCI7FAH4GL5FI65HYLKWTMFZ2CQ", "B07SRWRH5E", "1587051114941", rating) for rating in ("4.0", "1.0")],
    ),
    "amazon-2023-csv": (
        "Toys_and_Games.csv",
        "user_id,parent_asin,rating,timestamp,history\nAG,B1,3.0,1452647382000,\nAG,B2,4.0,1454675785000,B1 B0\n",
        [("AG", "B1", "1452647382000", "3.0"), ("AG", "B2", "1454675785000", "4.0")],
    ),
    "steam": (
        "steam_reviews.json",
        STEAM,
        [("Chaos 中 \\ 'n' é", "725280", "2017-12-17", "22.5"), ("o'Neill", "0070", "2018-01-04", None)],
    ),
    "yoochoose": (
        "yoochoose-clicks.dat",
        "1,2014-04-07T10:51:09.277Z,214536502,0\n11,2014-04-03T10:44:35.672Z,0214821275,S\n",
        [("1", "214536502", "2014-04-07T10:51:09.277Z"), ("11", "0214821275", "2014-04-03T10:44:35.672Z")],
    ),
    "kuairec": (
        "big_matrix.csv",
        KUAIREC,
        [("0", "3649", "1593878903.438", "1.273397"), ("14", "183", "1593879221.297", "0.116")],
    ),
    "zhihu": (
        "inter_impression.csv",
        "0,88230,1525498946,0\n0,1102,1525499001,1525499010\n7,3,1525499002,1525499011\n",
        [("0", "1102", "1525499010"), ("7", "3", "1525499011")],
    ),
    "pairs": ("games.txt", "1 6393\n1 013504\n2 7\n", [("1", "6393"), ("1", "013504"), ("2", "7")]),
    "user-lines": (
        "sessions.txt",
        "u'1 a,b 2\tc\n\"é\" 00 00 9223372036854775807\nlonely\nz x\n",
        [("u'1", "a,b"), ("u'1", "2"), ("u'1", "c"), ('"é"', "00"), ('"é"', "00"), ('"é"', "9223372036854775807"),
         ("z", "x")],
    ),
}  # fmt: skip
RECOGNISED = [name for name in PUBLISHED if name != "user-lines"]


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with engine(tmp_path / "spill") as opened:
        yield opened


@pytest.fixture
def loaded(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> Callable[..., Loaded]:
    """`loaded(path, …, format=…)` loads files as one log."""

    def run(*paths: Path, **source: Any) -> Loaded:
        (tmp_path / "work").mkdir(exist_ok=True)
        return load(connection, log_of(SourceSpec(path="log", **source), *paths), work=tmp_path / "work")

    return run


@pytest.fixture
def rows(connection: duckdb.DuckDBPyConnection, loaded: Callable[..., Loaded]) -> Callable[..., list[Row]]:
    """`rows(path, …)` gives user, item and, where the log has them, time and rating of every row, as text."""

    def run(*paths: Path, **source: Any) -> list[Row]:
        names = loaded(*paths, **source).names
        columns = ", ".join(
            f"{COLUMN_OF[role]}::VARCHAR" for role in ("user", "item", "time", "rating") if role in names
        )
        return connection.execute(f"SELECT {columns} FROM log ORDER BY rowid").fetchall()

    return run


# Each format as its owner publishes it


def test_every_format_has_a_fixture() -> None:
    assert set(PUBLISHED) == set(FORMATS)
    assert {"interactions", "movielens", *PUBLISHED} == set(known_formats())


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_file_is_read_to_the_letter(write_log: Write, rows: Callable[..., list[Row]], name: str) -> None:
    file, text, expected = PUBLISHED[name]
    assert rows(write_log(text, file), format=name) == expected


@pytest.mark.parametrize("name", RECOGNISED)
def test_a_published_file_is_recognised_and_said(write_log: Write, rows: Callable[..., list[Row]], name: str) -> None:
    file, text, expected = PUBLISHED[name]
    path = write_log(text, file)
    assert described([path], SourceSpec()) == f"{name} ({file}): {FORMATS[name].shape}"
    assert rows(path) == expected


@pytest.mark.parametrize("name", RECOGNISED)
@pytest.mark.parametrize("form", ["gzip", "zstd", "crlf", "bom", "no last end", "blank last lines"])
def test_the_same_log_in_another_dress(write_log: Write, rows: Callable[..., list[Row]], name: str, form: str) -> None:
    file, text, expected = PUBLISHED[name]
    data = text.encode()
    if form == "bom" and FORMATS[name].kind == "JSON lines":
        with pytest.raises(InputError, match="begins with a byte-order mark: save it as UTF-8 without one"):
            rows(write_log(b"\xef\xbb\xbf" + data, file))
        return
    content = {
        "gzip": gzip.compress(data[:40]) + gzip.compress(data[40:]),
        "zstd": pa.Codec("zstd").compress(data, asbytes=True),
        "crlf": data.replace(b"\n", b"\r\n"),
        "bom": b"\xef\xbb\xbf" + data,
        "no last end": data.rstrip(b"\n"),
        "blank last lines": data + b"\n\n",
    }[form]
    ending = {"gzip": ".gz", "zstd": ".zst"}.get(form, "")
    assert rows(write_log(content, file + ending)) == expected


def test_what_is_not_certain_is_not_guessed(write_log: Write) -> None:
    """Neither four columns that could be in any order, nor pairs that are not grouped, nor lists."""
    for name, text in {
        "log.csv": "1,2,3,4\n5,6,7,8\n",
        "x.data": "1\t2\t3\t881250949\n",
        "pairs.txt": "1 2\n3 4\n",
        "swapped.txt": "2 1\n1 1\n2 2\n",
        "mixed.csv": f"{USER_2014},B00004Y570,5.0,1365811200\nB00004Y570,{USER_2014},5.0,1365811200\n",
        "lists.txt": "1 2 3\n2 4\n",
        "other.json": '{"reviewerID": "A", "asin": "B"}\n',
    }.items():
        with pytest.raises(InputError):
            recognise_all([write_log(text, name)], SourceSpec())


def test_columns_that_a_person_names_win(write_log: Write, rows: Callable[..., list[Row]]) -> None:
    path = write_log("user_id,parent_asin,rating,timestamp\na,p,5.0,1\n", "x.csv")
    columns = Columns(user="parent_asin", item="user_id", rating="rating")
    assert rows(path, columns=columns) == [("p", "a", "5.0")]
    assert described([path], SourceSpec(columns=columns)) == (
        "interactions (x.csv): user 'parent_asin', item 'user_id', rating 'rating'"
    )


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl", "log.parquet"])
def test_times_that_are_not_read_are_told(write_log: Write, tmp_path: Path, name: str) -> None:
    texts = {
        "log.csv": "user_id,item_id,Timestamp,place\na,b,1,2\n",
        "log.jsonl": '{"user_id": "a", "item_id": "b", "Timestamp": 1, "place": 2}\n',
    }
    path = tmp_path / name
    if name in texts:
        write_log(texts[name], name)
    else:
        duckdb.sql(f"COPY (SELECT 'a' AS user_id, 'b' AS item_id, 1 AS \"Timestamp\", 2 AS place) TO '{path}'")
    assert untimed([path], SourceSpec()) == (
        f"no times: the file's order counts; {name} has a column 'Timestamp', which --time-col Timestamp reads"
    )
    assert untimed([path], SourceSpec(columns=Columns(time="Timestamp"))) is None
    assert untimed([path], SourceSpec(columns=Columns(order="Timestamp"))) is None
    told = untimed([path], SourceSpec(columns=Columns(order="place")))
    assert told is not None
    assert told.startswith("no times: the numbers in 'place' count; ")


def test_the_format_that_a_person_names_overrules(write_log: Write, rows: Callable[..., list[Row]]) -> None:
    path = write_log(f"{USER_2014},0132793040,5.0,1365811200\n", "ratings.csv")
    assert rows(path, format="amazon-2018-csv") == [("0132793040", USER_2014, "1365811200", "5.0")]


@pytest.mark.parametrize("name", ["movielens-100k", "movielens-1m", "movielens-csv"])
def test_a_family_stands_for_its_formats(write_log: Write, name: str) -> None:
    file, text, _ = PUBLISHED[name]
    [layout] = recognise_all([write_log(text, "any-" + file)], SourceSpec(format="movielens"))
    assert layout.format == name


def test_an_unknown_format_and_fixed_columns_are_refused(write_log: Write) -> None:
    path = write_log("u i\n", "log.txt")
    with pytest.raises(InputError, match="there is no format 'movielens-9': choose from interactions, movielens, "):
        recognise_all([path], SourceSpec(format="movielens-9"))
    with pytest.raises(InputError, match="steam format has fixed columns: leave the column options out"):
        recognise_all([path], SourceSpec(format="steam", columns=Columns(time="date")))


def test_a_step_key_knows_the_format_that_a_files_name_decides(write_log: Write, home: Home) -> None:
    text = "0,1,1525498946,1525498999\n"
    log = obtain_log(SourceSpec(path=str(write_log(text, "inter_impression.csv"))), home=home)
    assert log.source.format == "zhihu"


# Steam's Python


def test_python_texts_are_read_as_python_reads_them(write_log: Write, rows: Callable[..., list[Row]]) -> None:
    generator = random.Random(5)
    alphabet = "ab'\"\\\n\t\r\x07\x7f,:{}[]u éß中\u2028😀𝒳"
    lines, expected = [], []
    for number in range(3000):
        name = "".join(generator.choices(alphabet, k=generator.randrange(1, 12)))
        fields: list[tuple[str, Any]] = [
            ("username", name),
            ("product_id", str(number)),
            ("date", "2017-01-02"),
            ("hours", number / 8),
            ("text", "".join(generator.choices(alphabet, k=30)) + "u'username': u'x', "),
            ("flags", [True, None, {"a": ("b'", -1.5)}]),
        ]
        generator.shuffle(fields)
        mark = generator.choice(["u", ""])
        line = ", ".join(f"{mark}{key!r}: {mark if isinstance(value, str) else ''}{value!a}" for key, value in fields)
        lines.append("{" + line + "}")
        value = ast.literal_eval(lines[-1])
        expected.append((value["username"], value["product_id"], value["date"], str(value["hours"])))
    assert rows(write_log("\n".join(lines) + "\n", "steam_reviews.json"), format="steam") == expected


def test_halves_of_a_character_are_put_together(write_log: Write, rows: Callable[..., list[Row]]) -> None:
    line = "{u'username': u'\\ud83d\\ude00\\U0001f600', u'product_id': 5, u'date': u'2017-01-02'}\n"
    assert rows(write_log(line, "steam.json"), format="steam") == [("😀😀", "5", "2017-01-02", None)]


@pytest.mark.parametrize(
    "broken", ["not a dictionary", "{u'username': u'x', oops, u'product_id': u'1', u'date': u'1'}"]
)
def test_a_line_that_is_no_dictionary_is_refused_with_its_number(
    write_log: Write, tmp_path: Path, connection: duckdb.DuckDBPyConnection, broken: str
) -> None:
    path = write_log(STEAM + "\n" + broken + "\n", "steam_reviews.json")
    with pytest.raises(InputError, match=r"steam_reviews\.json, row 4, column 'username': no user id"):
        read_log(connection, log_of(SourceSpec(format="steam"), path), work=tmp_path)


# Many files as one log


def test_files_are_one_log_in_their_order(
    write_log: Write,
    connection: duckdb.DuckDBPyConnection,
    loaded: Callable[..., Loaded],
) -> None:
    """Long enough for every file to be read in parts and put down in blocks."""
    count = 150_000
    paths = []
    for name, start in (("a.csv", 0), ("b.csv.gz", count), ("c.csv", 2 * count)):
        text = "user_id,item_id\n" + "".join(f"{number % 977},{number}\n" for number in range(start, start + count))
        paths.append(write_log(gzip.compress(text.encode(), 1) if name.endswith("gz") else text, name))
    log = loaded(*paths)
    misplaced = connection.execute(
        "SELECT count(*) FILTER (WHERE item_id::BIGINT <> rowid), count(*) FROM log"
    ).fetchone()
    assert misplaced == (0, 3 * count)
    assert log.place(connection, 1) == f"{paths[0]}, row 1"
    assert log.place(connection, count) == f"{paths[0]}, row {count}"
    assert log.place(connection, count + 1) == f"{paths[1]}, row 1"
    assert log.place(connection, 3 * count) == f"{paths[2]}, row {count}"


def test_a_fault_names_its_file_and_row(
    write_log: Write, tmp_path: Path, connection: duckdb.DuckDBPyConnection
) -> None:
    good = "user_id,item_id,ts\n" + "a,1,5\n" * 4
    paths = [write_log(good, "one.csv"), write_log(good + "a,2,soon\n", "two.csv"), write_log(good, "three.csv")]
    with pytest.raises(InputError, match=r"two\.csv, row 5, column 'ts': 'soon' where a number"):
        read_log(connection, log_of(SourceSpec(columns=Columns(time="ts")), *paths), work=tmp_path)


def test_a_fault_behind_rows_that_are_left_out_names_the_files_row(
    write_log: Write, tmp_path: Path, connection: duckdb.DuckDBPyConnection
) -> None:
    text = "0,1,100,0\n" * 5 + "0,1,100,110\n0,1,100,0\n0,2,100,later\n"
    paths = [write_log("0,1,100,110\n", "inter_impression.csv"), write_log(text, "more_inter_impression.csv")]
    with pytest.raises(InputError, match=r"more_inter_impression\.csv, row 8, column 'time \(4th\)': 'later'"):
        read_log(connection, log_of(SourceSpec(), *paths), work=tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("odd.csv", "user_id,item_id,more\na,1,2\n"),
        ("odd.jsonl", '{"user_id": 1, "item_id": 2}\n'),
        ("ratings.dat", "1::2::3::4\n"),
    ],
)
def test_a_file_of_another_layout_is_named(write_log: Write, name: str, text: str) -> None:
    paths = [write_log("user_id,item_id\na,1\n", "one.csv"), write_log(text, name)]
    with pytest.raises(
        InputError, match=f"{name} is laid out otherwise than .*one.csv, with which it would be one log"
    ):
        recognise_all(paths, SourceSpec())


def test_other_columns_beside_those_that_are_read_are_told(write_log: Write) -> None:
    paths = [write_log("user_id,item_id\na,1\n", "one.csv"), write_log("item_id,user_id\n1,a\n", "two.csv")]
    told = "it holds delimited text with the columns {}, the other delimited text with the columns {}$"
    with pytest.raises(InputError, match=told.format("item_id, user_id", "user_id, item_id")):
        recognise_all(paths, SourceSpec())


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ({"time": "ts"}, [("a", "x", "1"), ("a", "y", "2")]),
        ({"user": "ITEM_ID", "item": "item_id_1"}, [("never", "nor")] * 2),
    ],
)
def test_parquet_columns_whose_names_differ_in_case_alone_are_told_apart(
    tmp_path: Path, rows: Callable[..., list[Row]], named: dict[str, str], expected: list[Row]
) -> None:
    names = ["user_id", "Item_ID", "item_id", "ITEM_ID", "item_id_1", "ts"]
    columns = [["a", "a"], ["no", "no"], ["x", "y"], ["never", "never"], ["nor", "nor"], [1, 2]]
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table([pa.array(values) for values in columns], names=names), path)
    assert rows(path, columns=Columns(**named)) == expected


def test_files_with_their_columns_in_another_order_are_one_log(tmp_path: Path, rows: Callable[..., list[Row]]) -> None:
    for name, columns in (("a", "'a' AS user_id, 'x' AS item_id"), ("b", "'y' AS item_id, 1 AS more, 'b' AS user_id")):
        duckdb.sql(f"COPY (SELECT {columns}) TO '{tmp_path}/{name}.parquet'")
    assert rows(tmp_path / "a.parquet", tmp_path / "b.parquet") == [("a", "x"), ("b", "y")]


def test_parquet_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table([pa.array(["a"])] * 3, names=["user_id", "item_id", "item_id"]), path)
    with pytest.raises(InputError, match="has 2 columns named 'item_id': rename all but one"):
        recognise_all([path], SourceSpec())


def test_parquet_columns_of_two_types_are_two_layouts(tmp_path: Path) -> None:
    for name, kind in (("a", "BIGINT"), ("b", "VARCHAR")):
        duckdb.sql(f"COPY (SELECT 1::{kind} AS user_id, 2 AS item_id) TO '{tmp_path}/{name}.parquet'")
    told = r"Parquet with the columns user_id \({}\), item_id \(int32\)"
    expected = (
        rf"b\.parquet is laid out otherwise .*: it holds {told.format('string')}, the other {told.format('int64')}$"
    )
    with pytest.raises(InputError, match=expected):
        recognise_all([tmp_path / "a.parquet", tmp_path / "b.parquet"], SourceSpec())


# What is refused


@pytest.mark.parametrize("ending", ["gz", "zst"])
@pytest.mark.parametrize("name", ["movielens-1m", "amazon-2023-json", "steam", "user-lines"])
def test_a_file_whose_packing_is_cut_short_is_refused(
    write_log: Write, loaded: Callable[..., Loaded], name: str, ending: str
) -> None:
    file, text, _ = PUBLISHED[name]
    generator = random.Random(0)
    data = (text * 3000 + str(generator.random()) + "\n").encode()
    packed = gzip.compress(data) if ending == "gz" else pa.Codec("zstd").compress(data, asbytes=True)
    path = write_log(packed[:-9], f"{file}.{ending}")
    with pytest.raises(InputError, match=rf"\.{ending} is not a whole (gzip|zstd) file \(cut short or damaged\)"):
        loaded(path, format=name)


@pytest.mark.parametrize(
    ("name", "content", "source", "message"),
    [
        ("log.zip", b"PK\x03\x04", {}, r"log\.zip is packed in a way that is not read: unpack it"),
        ("log.csv.bz2", b"BZh9", {}, "unpack it and name the file within"),
        ("log.csv", "user_id,item_id\n", {}, "holds no interactions: it has a header and no rows"),
        (
            "ratings.csv",
            "userId,movieId,rating,timestamp\n\n",
            {},
            "holds no interactions: it has a header and no rows",
        ),
        ("u.data", "\n\n", {"format": "movielens-100k"}, "is empty"),
        (
            "log.csv",
            "1,2\n",
            {"format": "zhihu"},
            "log.csv is not of the format zhihu: its first line should hold user,answer",
        ),
        ("log.txt", "1 2 3\n", {"format": "pairs"}, "is not of the format pairs: its first line should hold user item"),
        ("log.json", '{"a": 1}\n', {"format": "steam"}, "is not of the format steam"),
        ("log.bin", b"\xff\xfe\x00\x01" * 9, {}, "is of an unknown kind"),
    ],
)
def test_a_wrong_file_is_refused_before_anything_runs(
    write_log: Write, name: str, content: str | bytes, source: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        inspect_source(SourceSpec(path=str(write_log(content, name)), **source))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "movielens-1m",
            "1::2::3::4\n1::2::3\n",
            r"line 2: 3 values where the format \(user::item::rating::time\) has 4",
        ),
        ("pairs", "1 2\n1 3 4\n", r"line 2: 3 values where the format \(user item\) has 2"),
        ("movielens-csv", "userId,movieId,rating,timestamp\n1,2,3,\n", "row 1, column 'timestamp': no time"),
        ("zhihu", "0,1,5,0\n", "holds no interactions: none of its rows is one"),
        (
            "movielens-1m",
            "1::2::3::978300760\n1::2::3::978300760000\n",
            "row 2, column 'time .4th.': .* is in milliseconds",
        ),
        (
            "amazon-json",
            json.dumps(AMAZON_REVIEW | {"reviewerID": None}) + "\n",
            "row 1, column 'reviewerID': no user id",
        ),
    ],
)
def test_a_fault_within_a_published_file_is_told(
    write_log: Write, tmp_path: Path, connection: duckdb.DuckDBPyConnection, name: str, text: str, message: str
) -> None:
    path = write_log(text, PUBLISHED[name][0])
    with pytest.raises(InputError, match=message):
        read_log(connection, log_of(SourceSpec(format=name), path), work=tmp_path)


@pytest.mark.parametrize(
    ("times", "is_refused"), [(["20200131", "20191201"], True), (["20200131", "20191299"], False), (["20200131"], True)]
)
def test_dates_without_dashes_are_not_taken_for_seconds(
    write_log: Write, tmp_path: Path, connection: duckdb.DuckDBPyConnection, times: list[str], is_refused: Any
) -> None:
    path = write_log("user_id,item_id,day\n" + "".join(f"a,1,{time}\n" for time in times))
    log = log_of(SourceSpec(columns=Columns(time="day")), path)
    if is_refused:
        with pytest.raises(
            InputError, match=r"row 1, column 'day': '20200131' looks like a date.*write dates with dashes"
        ):
            read_log(connection, log, work=tmp_path)
    else:
        assert read_log(connection, log, work=tmp_path).scale == 1e6


# Real logs


@pytest.mark.parametrize(
    ("file", "columns", "format", "counts"),
    [
        ("ml-100k.u.data", {}, "movielens-100k", (100_000, 943, 1_682)),
        ("ml-1m.parquet", {"order": "position"}, "interactions", (999_611, 6_040, 3_416)),
        ("games.txt", {}, "pairs", (287_107, 31_013, 23_715)),
        ("yoochoose-sample.parquet", {"order": "position"}, "interactions", (112_307, 25_694, 4_721)),
        ("kuairec-sample.parquet", {"order": "position"}, "interactions", (55_346, 9_209, 2_233)),
        ("zhihu-sample.parquet", {"order": "position"}, "interactions", (8_160, 1_171, 3_049)),
    ],
)
def test_real_logs_have_the_counts_that_their_readme_gives(
    shared_data: Path,
    home: Home,
    ingest_file: Callable[..., Snapshot],
    file: str,
    columns: dict[str, str],
    format: str,
    counts: tuple[int, int, int],
) -> None:
    source = SourceSpec(path=str(shared_data / file), columns=Columns(**columns))
    assert obtain_log(source, home=home).source.format == format
    found = ingest_file(shared_data / file, format=format, **columns).counts
    assert (found.interactions, found.users, found.items) == counts
