"""A log of any usual form becomes the same snapshot; a wrong one is refused in one sentence."""

import gzip
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tasks.data_specs import Columns, PrepareSpec, SourceSpec, TemporalSplit
from tasks.errors import InputError
from tasks.home import Home
from tasks.ingest import ingest
from tasks.snapshots import Snapshot
from tasks.sources.reading import read_log
from tasks.sources.source import SHOPPERS_COLUMNS, inspect_source, log_of
from tasks.validate import validate_log

Row = tuple[Any, ...]
Read = Callable[[Path], list[Row]]
Ingest = Callable[..., Snapshot]
Write = Callable[..., Path]

ITEM, TIME, POSITION, NOISE = 1, 2, 3, 4

LOG = "user_id,item_id,ts\n" + "".join(f"{user},{item},{item}\n" for user in "ab" for item in range(1, 5))


def sequences(snapshot: Snapshot, rows_of: Read) -> dict[str, list[str]]:
    """Raw user id -> raw item ids in their order."""
    users = {row[0]: row[1] for row in rows_of(snapshot.users)}
    items = {row[0]: row[1] for row in rows_of(snapshot.items)}
    found: dict[str, list[str]] = {user: [] for user in users.values()}
    for row in rows_of(snapshot.interactions):
        assert len(found[users[row[0]]]) == row[POSITION]
        found[users[row[0]]].append(items[row[ITEM]])
    return found


def more(path: Path) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write("c,1,1\nc,2,2\nc,3,3\n")


# What a snapshot says


@pytest.mark.parametrize("change", [more, Path.unlink])
def test_a_log_that_changes_after_its_checksum_was_taken_is_refused(
    home: Home, write_log: Write, tmp_path: Path, left_in: Callable[[], Any], change: Callable[[Path], None]
) -> None:
    path = write_log(LOG)
    log = log_of(SourceSpec(path=str(path)), path)
    change(path)
    with pytest.raises(InputError, match=r"log\.csv changed while it was read: try again when it is complete"):
        ingest(log, PrepareSpec(), home=home)
    if path.exists():
        with pytest.raises(InputError, match=r"log\.csv changed while it was read"):
            validate_log(log, docs=tmp_path / "docs")
    assert not left_in()


def test_a_log_that_changes_while_it_is_read_is_refused(
    home: Home, write_log: Write, left_in: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_log(LOG)

    def read_and_grow(*arguments: Any, **options: Any) -> Any:
        reading = read_log(*arguments, **options)
        more(path)
        return reading

    monkeypatch.setattr("tasks.ingest.read_log", read_and_grow)
    with pytest.raises(InputError, match=r"log\.csv changed while it was read"):
        ingest(log_of(SourceSpec(path=str(path)), path), PrepareSpec(), home=home)
    assert not left_in()


def test_noise_labels_are_kept_as_kinds(write_log: Write, ingest_file: Ingest, rows_of: Read) -> None:
    path = write_log("user_id,item_id,why\na,1,\na,2,genuine\na,3,misclick\na,4,shared\na,5,gift\n")
    snapshot = ingest_file(path, noise="why")
    assert [row[NOISE] for row in rows_of(snapshot.interactions)] == [
        None,
        None,
        "misclick",
        "shared",
        "gift",
    ]
    assert snapshot.manifest.labelled
    assert snapshot.counts.noisy == 1  # the last two are for validation and test
    assert not ingest_file(path).manifest.labelled


@pytest.mark.parametrize(
    ("no", "yes"), [("0", "1"), ("False", "True"), ("no", "YES"), ("f", "t"), ("N", "y"), ("0.0", "1.0"), (" 0", "1 ")]
)
def test_a_column_that_says_yes_or_no_marks_noise_of_no_kind(
    write_log: Write, ingest_file: Ingest, rows_of: Read, no: str, yes: str
) -> None:
    path = write_log("user_id,item_id,why\n" + "".join(f"a,{n},{yes if n == 2 else no}\n" for n in range(1, 6)))
    snapshot = ingest_file(path, noise="why")
    assert [row[NOISE] for row in rows_of(snapshot.interactions)] == [None, "natural", None, None, None]
    assert snapshot.counts.noisy == 1


@pytest.mark.parametrize("kind", ["BOOLEAN", "INTEGER", "DOUBLE"])
def test_a_parquet_column_that_says_yes_or_no_is_one_too(
    tmp_path: Path, ingest_file: Ingest, rows_of: Read, kind: str
) -> None:
    path = tmp_path / "log.parquet"
    duckdb.sql(
        f"COPY (SELECT 'a' AS user_id, n AS item_id, CASE WHEN n < 5 THEN (n = 2)::{kind} END AS why "
        f"FROM range(1, 6) AS r(n)) TO '{path}'"
    )
    snapshot = ingest_file(path, noise="why")
    assert [row[NOISE] for row in rows_of(snapshot.interactions)] == [None, "natural", None, None, None]


@pytest.mark.parametrize(
    ("ids", "kind", "expected"),
    [
        (["10", "9", "-3"], "integer", ["-3", "9", "10"]),
        (["10", "9", "09"], "string", ["09", "10", "9"]),
        (["10", "9", "99999999999999999999"], "string", ["10", "9", "99999999999999999999"]),
        (["é", "z", " a"], "string", [" a", "z", "é"]),
    ],
)
def test_ids_keep_their_text_and_sort_by_their_type(
    write_log: Write, ingest_file: Ingest, rows_of: Read, ids: list[str], kind: str, expected: list[str]
) -> None:
    path = write_log("user_id,item_id\n" + "".join(f"u,{item}\n" for item in ids))
    snapshot = ingest_file(path)
    assert snapshot.manifest.item_id_type == kind
    assert [row[1] for row in rows_of(snapshot.items)] == expected
    assert snapshot.manifest.user_id_type == "string"


# The order within a user


def test_ties_in_time_go_by_the_order_column_and_then_by_the_file(
    write_log: Write, ingest_file: Ingest, rows_of: Read
) -> None:
    rows = [("d", 2, 1), ("c", 1, 10), ("b", 1, 9), ("a", 1, 9), ("e", 1, -1.5)]
    path = write_log("user_id,item_id,ts,rank\n" + "".join(f"u,{i},{t},{r}\n" for i, t, r in rows))
    assert sequences(ingest_file(path, time="ts", order="rank"), rows_of) == {"u": list("ebacd")}
    assert sequences(ingest_file(path, time="ts"), rows_of) == {"u": list("cbaed")}
    assert sequences(ingest_file(path, order="rank"), rows_of) == {"u": list("edbac")}
    assert sequences(ingest_file(path), rows_of) == {"u": list("dcbae")}


def test_neighbouring_integers_beyond_doubles_keep_their_order(
    write_log: Write, ingest_file: Ingest, rows_of: Read
) -> None:
    start = 2**62
    path = write_log("user_id,item_id,n\n" + "".join(f"u,{i},{start + 9 - i}\n" for i in range(10)))
    assert sequences(ingest_file(path, order="n"), rows_of) == {"u": [str(i) for i in range(9, -1, -1)]}


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_the_files_order_survives_parallel_reading(tmp_path: Path, ingest_file: Ingest, suffix: str) -> None:
    """The file is read in many parts at once: blocks of text of 32 MB or less, or row groups."""
    path = tmp_path / f"big.{suffix}"
    options = {"csv": "HEADER", "parquet": "FORMAT parquet, ROW_GROUP_SIZE 8192", "jsonl": "FORMAT json"}[suffix]
    padding = "" if suffix == "parquet" else f", repeat('x', {400 if suffix == 'csv' else 390}) AS padding"
    duckdb.sql(
        f"COPY (SELECT i % 3 AS user_id, 1 + i AS item_id{padding} FROM range(100000) AS r(i)) TO '{path}' ({options})"
    )
    assert suffix == "parquet" or path.stat().st_size > 38_000_000
    snapshot = ingest_file(path)
    misplaced = duckdb.sql(
        f"SELECT count(*) FROM '{snapshot.interactions}' WHERE item <> 1 + position * 3 + \"user\""
    ).fetchone()
    assert misplaced == (0,)
    assert snapshot.counts.interactions == 100_000


# Times


@pytest.mark.parametrize(
    "text",
    [
        "1577934245",
        "1577934245.0",
        "1.577934245e9",
        "1577934245000",
        "1577934245000000",
        "1577934245000000000",
        "2020-01-02 03:04:05",
        "2020-01-02T03:04:05Z",
        "2020-01-02T05:04:05+02:00",
    ],
)
def test_times_of_every_usual_form_become_microseconds(
    write_log: Write, ingest_file: Ingest, rows_of: Read, text: str
) -> None:
    path = write_log("user_id,item_id,ts\n" + f"u,1,{text}\n" * 3)
    snapshot = ingest_file(path, time="ts")
    assert {row[TIME] for row in rows_of(snapshot.interactions)} == {1_577_934_245_000_000}
    assert snapshot.manifest.has_times


def test_fractions_of_a_second_and_plain_dates_are_kept(write_log: Write, ingest_file: Ingest, rows_of: Read) -> None:
    path = write_log("user_id,item_id,a,b\n" + "u,1,1577934245.25,2020-01-02\n" * 3)
    assert rows_of(ingest_file(path, time="a").interactions)[0][TIME] == 1_577_934_245_250_000
    assert rows_of(ingest_file(path, time="b").interactions)[0][TIME] == 1_577_923_200_000_000


def test_a_log_without_times_has_none(write_log: Write, ingest_file: Ingest, rows_of: Read) -> None:
    snapshot = ingest_file(write_log(LOG))
    assert {row[TIME] for row in rows_of(snapshot.interactions)} == {None}
    assert not snapshot.manifest.has_times


# Formats


@pytest.mark.parametrize(
    "name",
    ["log.csv.gz", "log.tsv", "log.txt", "semicolons.csv", "crlf.csv", "bom.csv", "quoted.csv", "lines.jsonl",
             "lines.ndjson.gz", "log.parquet", "we[i]rd * user=1.parquet"]
)  # fmt: skip
def test_every_form_of_a_log_gives_the_same_snapshot(
    tmp_path: Path, write_log: Write, ingest_file: Ingest, name: str
) -> None:
    expected = ingest_file(write_log(LOG), time="ts")
    path = tmp_path / name
    rows = [dict(zip(("user_id", "item_id", "ts"), line.split(","), strict=True)) for line in LOG.split()[1:]]
    if name.endswith("parquet"):
        duckdb.sql(
            f"COPY (SELECT user_id, item_id::DOUBLE AS item_id, to_timestamp(ts) AS ts "
            f"FROM '{tmp_path}/log.csv') "
            f"TO '{tmp_path}/plain.parquet'"
        )
        shutil.move(tmp_path / "plain.parquet", path)
    else:
        text = {
            "log.tsv": LOG.replace(",", "\t"),
            "log.txt": LOG.replace(",", "\t"),
            "semicolons.csv": LOG.replace(",", ";"),
            "crlf.csv": LOG.replace("\n", "\r\n").rstrip(),
            "bom.csv": "\ufeff" + LOG,
            "quoted.csv": LOG.replace("a,", '"a",').replace("ts", '"ts"'),
            "lines.jsonl": "".join(json.dumps(row) + "\n" for row in rows),
            "lines.ndjson.gz": "".join(json.dumps({**row, "ts": int(row["ts"])}) + "\n\n" for row in rows),
        }.get(name, LOG)
        content = text.encode()
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert ingest_file(path, time="ts").digest == expected.digest


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("u.data", "1\t10\t5\t30\n1\t11\t4\t20\n1\t12\t3\t10\n"),
        ("ratings.dat", "1::10::5::30\n1::11::4::20\n1::12::3::10\n"),
        ("ratings.csv", "userId,movieId,rating,timestamp\n1,10,5.0,30\n1,11,4.0,20\n1,12,3.0,10\n"),
    ],
)
def test_movielens_is_recognised_by_its_first_line(
    write_log: Write, ingest_file: Ingest, rows_of: Read, name: str, text: str
) -> None:
    snapshot = ingest_file(write_log(text, name), format="movielens")
    assert sequences(snapshot, rows_of) == {"1": ["12", "11", "10"]}
    assert rows_of(snapshot.interactions)[0][TIME] == 10_000_000


def test_the_generated_shoppers_file_has_fixed_columns(tmp_path: Path, home: Home) -> None:
    path = tmp_path / "shoppers.parquet"
    duckdb.sql(
        "COPY (SELECT 'u' AS user_id, i AS item_id, TIMESTAMP '2020-01-01' + INTERVAL (i) HOUR AS time, "
        f"if(i = 0, 'shared', NULL) AS noise FROM range(5) AS r(i)) TO '{path}'"
    )
    snapshot = ingest(log_of(SourceSpec(columns=SHOPPERS_COLUMNS), path), PrepareSpec(), home=home)
    assert (snapshot.counts.noisy, snapshot.manifest.labelled, snapshot.manifest.has_times) == (1, True, True)


# What is refused


REFUSED: list[tuple[str, str | bytes, dict[str, Any], str]] = [
    ("log.csv", "", {}, r"log\.csv is empty"),
    ("log.csv", "user_id,item_id\n", {}, r"log\.csv holds no interactions: it has a header and no rows"),
    ("log.xlsx", "x", {}, r"log\.xlsx is of an unknown kind"),
    ("log", "x", {}, "of an unknown kind"),
    (
        "log.csv",
        LOG,
        {"user": "userid"},
        r"no column 'userid' .*: its columns are user_id, item_id, ts; did you mean 'user_id'",
    ),
    ("log.csv", LOG, {"item": "user_id"}, "'user_id' is named for both the users and the items"),
    ("log.csv", "user_id,item_id,item_id\na,1,2\n", {}, "2 columns named 'item_id'"),
    (
        "log.csv",
        LOG + "a,5,soon\n",
        {"time": "ts"},
        r"log\.csv, row 9, column 'ts': 'soon' where a number or an ISO date belongs",
    ),
    ("log.csv", LOG + "a,5,nan\n", {"time": "ts"}, "row 9, column 'ts': 'nan'"),
    ("log.csv", LOG + "a,5,\n", {"time": "ts"}, "row 9, column 'ts': no time"),
    (
        "log.csv",
        LOG + "a,5,1577934245000\n",
        {"time": "ts"},
        "row 9, column 'ts': '1577934245000' is in milliseconds where most times are in seconds",
    ),
    (
        "log.csv",
        LOG + "a,5,2020-01-01\n",
        {"time": "ts"},
        "row 9, column 'ts': '2020-01-01' is in dates where most",
    ),
    ("log.csv", LOG + "a,5,third\n", {"order": "ts"}, "row 9, column 'ts': 'third' where a number belongs"),
    ("log.csv", LOG + "a,5,\n", {"order": "ts"}, "row 9, column 'ts': no number"),
    ("log.csv", LOG + ",5,5\n", {}, "row 9, column 'user_id': no user id"),
    ("log.csv", LOG + 'a,"",5\n', {}, "row 9, column 'item_id': no item id"),
    ("log.csv", LOG + "a,5\n", {}, "line 10: 2 values where the first line has 3"),
    ("log.csv", LOG + "a,5,6,7\n" + LOG[19:], {}, "line 10: 4 values where the first line has 3"),
    ("log.csv", LOG + 'a,"5,6\n', {}, "line 10: a quote is opened and never closed"),
    ("log.csv", LOG.encode() + b"\xe9,5,6\n", {}, "line 10: not UTF-8 text"),
    ("log.csv", b"us\xe9r_id,item_id\n", {}, "line 1: not UTF-8 text"),
    ("log.csv.gz", gzip.compress(LOG.encode() * 99, mtime=0)[:-20], {}, r"log\.csv\.gz is not a whole gzip file"),
    ("log.csv.gz", LOG, {}, "is not a whole gzip file"),
    ("log.csv.gz", gzip.compress(b"", mtime=0), {}, "is empty"),
    ("log.csv", "\n" + LOG, {}, r"log\.csv, line 1: a blank line where the names of the columns belong"),
    ("log.csv", LOG.replace("\n", "\r"), {}, r"bare carriage return: save it with Unix line ends"),
    ("log.parquet", b"PAR1" + bytes(99), {}, r"log\.parquet is not a whole Parquet file"),
    (
        "log.jsonl",
        '{"user_id": 1, "item_id": 2}\n{"user_id": 1, \n',
        {},
        r"log\.jsonl has a line that is not JSON, line 2",
    ),
    (
        "log.jsonl",
        '{"user_id": 1, "item_id": 2}\n' * 2000 + '{"user_id": 1, \n' + '{"user_id": 1}\n',
        {},
        "not JSON, line 2001",
    ),
    ("log.jsonl", '{"user_id": 1, "item_id": 2}\n' * 2000 + "[1, 2]\n", {}, "not a JSON object, line 2001"),
    (
        "log.jsonl",
        '{"user_id": 1, "item_id": 2}\n{"user_id": null, "item_id": 2}\n',
        {},
        "row 2, column 'user_id': no user id",
    ),
    ("log.csv", "user_id" * 20_000 + "\n1,2\n", {}, "line 1: more than 131,072 letters where a column's name belongs"),
    ("log.jsonl", f"{'[' * 20_000}\n", {}, "holds a JSON array"),
    ("log.jsonl", f'{{"user_id": {"[" * 20_000}\n', {}, "nested too deeply to be read, line 1"),
    (
        "log.jsonl",
        '{"user_id": 1, "item_id": 2}\n' * 2000 + f'{{"user_id": {"[" * 20_000}\n',
        {},
        "nested too deeply to be read, line 2001",
    ),
    ("log.jsonl", '{"user_id": 1}\n', {}, "no column 'item_id'"),
    (
        "log.jsonl",
        '{"id": 1, "ID": 2}\n',
        {"user": "id", "item": "ID"},
        "the columns 'id' and 'ID' differ in case alone",
    ),
    (
        "log.jsonl",
        '{"user_id": 1, "user_id": 2, "item_id": 2}\n',
        {},
        r'error in file "[^"]*/log\.jsonl", in line 1: .* has duplicate key "user_id"',
    ),
    ("log.json", '[{"user_id": 1, "item_id": 2}]', {}, "holds a JSON array: write one object a line"),
    (
        "log.jsonl",
        '{"user_id": 1, "item_id": 2, "more": {}}\n{"user_id": 1, "item_id": [2, 3]}\n',
        {},
        "line 2, column 'item_id': a list or an object where one value is needed",
    ),
    ("log.jsonl", '{"user_id": {"id": 1}, "item_id": 2}\n', {}, "line 1, column 'user_id': a list or an object"),
    ("log.jsonl", "\n\n", {}, "is empty"),
    (
        "log.csv",
        LOG,
        {"prepare": PrepareSpec(user_core=9, item_core=9)},
        "no interactions are left after dropping users and items with fewer than 9 interactions",
    ),
    (
        "u.data",
        "a b c\n",
        {"format": "movielens"},
        "is not of the format movielens: its first line should hold user ⇥ item ⇥ rating ⇥ time",
    ),
    (
        "u.data",
        "1\t1\t5\t9\n1\t2\t5\tx\n",
        {"format": "movielens"},
        r"row 2, column 'time \(4th\)': 'x' where a number",
    ),
]


@pytest.mark.parametrize(("name", "content", "request_", "message"), REFUSED)
def test_a_wrong_log_is_refused_in_one_sentence_and_leaves_nothing(
    write_log: Write,
    ingest_file: Ingest,
    left_in: Callable[[], list[Path]],
    name: str,
    content: str | bytes,
    request_: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        ingest_file(write_log(content, name), **request_)
    assert "\n" not in str(refusal.value)
    assert left_in() == []


def test_a_parquet_file_cut_short_or_damaged_is_refused(
    tmp_path: Path, ingest_file: Ingest, left_in: Callable[[], list[Path]]
) -> None:
    path = tmp_path / "log.parquet"
    duckdb.sql(f"COPY (SELECT i AS user_id, i AS item_id FROM range(100000) AS r(i)) TO '{path}'")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"log\.parquet is not a whole Parquet file"):
        inspect_source(SourceSpec(path=str(path)))
    path.write_bytes(whole[:5000] + bytes(1000) + whole[6000:])
    with pytest.raises(InputError, match=r"log\.parquet cannot be read as Parquet"):
        ingest_file(path)
    assert left_in() == []


def test_nulls_and_nested_columns_of_parquet_are_refused(tmp_path: Path, ingest_file: Ingest) -> None:
    path = tmp_path / "log.parquet"
    duckdb.sql(
        f"COPY (SELECT 1 AS user_id, if(i = 6, NULL, i) AS item_id, if(i = 6, 'nan'::DOUBLE, i) AS d, "
        f"[i] AS l "
        f"FROM range(9) AS r(i)) TO '{path}'"
    )
    with pytest.raises(InputError, match="row 7, column 'item_id': no item id"):
        ingest_file(path)
    with pytest.raises(InputError, match="row 7, column 'd': no item id"):
        ingest_file(path, item="d")
    with pytest.raises(InputError, match="column 'l' holds list"):
        ingest_file(path, item="l")


def test_bytes_of_parquet_that_are_no_text_are_refused_as_such(tmp_path: Path, ingest_file: Ingest) -> None:
    path = tmp_path / "log.parquet"
    duckdb.sql(rf"COPY (SELECT i AS user_id, '\xC9\xFF'::BLOB AS item_id FROM range(9) AS r(i)) TO '{path}'")
    with pytest.raises(InputError, match=r"log\.parquet: a column that is read holds bytes that are no text"):
        ingest_file(path)


def test_missing_files_and_folders_are_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.csv does not exist"):
        inspect_source(SourceSpec(path=str(tmp_path / "absent.csv")))
    with pytest.raises(
        InputError, match="is a folder, not a file: name the log's file, or a quoted pattern of its files"
    ):
        inspect_source(SourceSpec(path=str(tmp_path)))


def test_an_unreadable_file_is_refused(write_log: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_log(LOG)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"log\.csv cannot be read: Permission denied"):
        inspect_source(SourceSpec(path=str(path)))


@pytest.mark.parametrize(
    ("prepare", "option", "named"),
    [
        (PrepareSpec(min_rating=3), "--min-rating goes by ratings", {"rating": "stars"}),
        (PrepareSpec(duplicates="exact"), "--duplicates exact goes by times", {"time": "ts"}),
        (PrepareSpec(split=TemporalSplit()), "--split temporal goes by times", {"time": "ts"}),
    ],
)
def test_what_the_preparation_goes_by_is_asked_for_before_anything_runs(
    write_log: Write, prepare: PrepareSpec, option: str, named: dict[str, str]
) -> None:
    path = str(write_log("user_id,item_id,ts,stars\na,b,1500000000,4\n"))
    role, other = next(iter(named)), Columns(order="ts")
    said = f"{option}, which {path} is read without: name their column with --{role}-col, or leave the option out"
    for columns in (Columns(), other):
        with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
            inspect_source(SourceSpec(path=path, columns=columns), prepare)
    inspect_source(SourceSpec(path=path, columns=Columns(**named)), prepare)


def test_what_no_column_can_be_named_for_is_to_be_left_out(write_log: Write) -> None:
    pairs = str(write_log("1 2\n1 3\n2 2\n", "pairs.txt"))
    with pytest.raises(InputError, match=rf"^--split temporal goes by times, which {pairs} .*: leave the option out$"):
        inspect_source(SourceSpec(path=pairs, format="pairs"), PrepareSpec(split=TemporalSplit()))
    with pytest.raises(InputError, match=r"ratings, which the generated log is read without: leave the option out$"):
        inspect_source(SourceSpec(), PrepareSpec(min_rating=3))
    inspect_source(SourceSpec(), PrepareSpec(split=TemporalSplit(), duplicates="exact"))


# Real logs


def test_movielens_100k(shared_data: Path, ingest_file: Ingest) -> None:
    snapshot = ingest_file(shared_data / "ml-100k.u.data", format="movielens")
    counts = snapshot.counts
    assert (counts.interactions, counts.users, counts.items) == (100_000, 943, 1_682)
    assert counts.targets_test == counts.targets_validation + counts.targets_promotion == 943
    assert snapshot.manifest.user_id_type == snapshot.manifest.item_id_type == "integer"
    assert snapshot.manifest.has_times


def test_movielens_1m(shared_data: Path, ingest_file: Ingest) -> None:
    snapshot = ingest_file(shared_data / "ml-1m.parquet", order="position")
    counts = snapshot.counts
    assert (counts.interactions, counts.users, counts.items) == (999_611, 6_040, 3_416)
    same = duckdb.sql(
        f"SELECT count(*) FROM '{snapshot.interactions}' AS s JOIN '{snapshot.users}' AS u USING (\"user\") "
        f"JOIN '{snapshot.items}' AS i USING (item) JOIN '{shared_data / 'ml-1m.parquet'}' AS raw "
        "ON raw.user_id::VARCHAR = u.user_id AND raw.position = s.position "
        "AND raw.item_id::VARCHAR = i.item_id"
    ).fetchone()
    assert same == (999_611,)
