"""What an interaction log's file looks like: its format, and where its columns lie.

Only a file's beginning (of Parquet, its footer) is read here, so that a wrong request is
refused before anything runs.
"""

import csv
import difflib
import gzip
import itertools
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, cast

import pyarrow as pa
import pyarrow.parquet as pq

import sql
from tasks.errors import InputError
from tasks.specs import Columns, SourceSpec

DELIMITED_SUFFIXES = (".csv", ".tsv", ".txt")
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
PARQUET_SUFFIXES = (".parquet",)

_JSON_SAMPLE = 1_000
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Layout:
    """How a log is read.

    `roles` maps user, item, time, order and noise to the SQL that gives it as text (`NULL`
    where the log has none), and `names` those that the log has to the names a person knows.
    `fields` are the names under which the file's own columns are read.
    """

    reader: Literal["delimited", "json", "parquet"]
    roles: dict[str, str]
    names: dict[str, str]
    fields: tuple[str, ...] = ()
    delimiter: str = ","
    quote: str = '"'
    header: bool = True
    gzipped: bool = False


def recognise(path: Path, source: SourceSpec) -> Layout:
    """The layout of the log at `path`.

    Raises `InputError` in one sentence where the file is missing, a folder, unreadable, empty,
    of an unknown kind, cut short (Parquet), or lacks a column that `source` asks for.
    """
    _refuse_unreadable(path)
    if source.format == "movielens":
        return _movielens(path)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    gzipped = suffixes[-1:] == [".gz"]
    suffix = suffixes[-2:-1] if gzipped else suffixes[-1:] or [""]
    kind = suffix[0] if suffix else ""
    if kind in DELIMITED_SUFFIXES:
        return _delimited(path, source.columns, kind=kind)
    if kind in JSON_SUFFIXES:
        return _json_lines(path, source.columns)
    if kind in PARQUET_SUFFIXES and not gzipped:
        return _parquet(path, source.columns)
    known = ", ".join((*DELIMITED_SUFFIXES, *JSON_SUFFIXES, *PARQUET_SUFFIXES))
    raise InputError(
        f"{path} is of an unknown kind: its name should end in one of {known}, "
        "of which the text ones may be gzipped (.csv.gz)"
    )


def refuse_broken_gzip(path: Path) -> None:
    """Raise `InputError` where a gzipped file is cut short or damaged.

    Readers that stop at what they could unpack would take the rest for the whole.
    """
    try:
        with gzip.open(path) as file:
            while file.read(_CHUNK):
                pass
    except (EOFError, OSError, zlib.error) as error:
        raise _broken_gzip(path, error) from None


def _refuse_unreadable(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a file: name the log's file")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    if empty:
        raise InputError(f"{path} is empty")


def _movielens(path: Path) -> Layout:
    first = _first_line(path)
    gzipped = path.suffix.lower() == ".gz"
    roles = {"user": "c0", "item": "c1", "time": "c3", "order": "NULL::VARCHAR", "noise": "NULL::VARCHAR"}
    if first.count("::") == 3:
        names = {"user": "user (1st)", "item": "item (2nd)", "time": "timestamp (4th)"}
        return _text_layout(roles, names, width=4, delimiter="::", quote="", header=False, gzipped=gzipped)
    if first.count("\t") == 3:
        names = {"user": "user (1st)", "item": "item (2nd)", "time": "timestamp (4th)"}
        return _text_layout(roles, names, width=4, delimiter="\t", quote="", header=False, gzipped=gzipped)
    if first.replace('"', "").split(",")[:2] == ["userId", "movieId"]:
        return _delimited(path, Columns(user="userId", item="movieId", time="timestamp"), kind=".csv")
    raise InputError(
        f"{path} is none of MovieLens' ratings files: its first line should be four values parted "
        "by tabs (u.data) or by :: (ratings.dat), or the header userId,movieId,rating,timestamp (ratings.csv)"
    )


def _text_layout(
    roles: dict[str, str],
    names: dict[str, str],
    *,
    width: int,
    delimiter: str,
    quote: str,
    header: bool,
    gzipped: bool,
) -> Layout:
    fields = tuple(f"c{index}" for index in range(width))
    return Layout(
        reader="delimited",
        roles=roles,
        names=names,
        fields=fields,
        delimiter=delimiter,
        quote=quote,
        header=header,
        gzipped=gzipped,
    )


def _delimited(path: Path, columns: Columns, *, kind: str) -> Layout:
    line = _first_line(path)
    delimiter = _delimiter(line, default="\t" if kind == ".tsv" else ",")
    header = next(csv.reader([line], delimiter=delimiter))
    names = _wanted(path, columns, header)
    for name in names.values():
        if header.count(name) > 1:
            raise InputError(f"{path} has {header.count(name)} columns named {name!r}: rename all but one")
    roles = {role: f"c{header.index(name)}" for role, name in names.items()}
    return _text_layout(
        _with_nulls(roles),
        names,
        width=len(header),
        delimiter=delimiter,
        quote='"',
        header=True,
        gzipped=path.suffix.lower() == ".gz",
    )


def _delimiter(header: str, *, default: str) -> str:
    """The mark that parts a header's names: the most frequent of the usual ones, outside quotes."""
    bare = "".join(header.split('"')[::2])
    counts = {mark: bare.count(mark) for mark in (default, ",", "\t", ";", "|")}
    best = max(counts, key=lambda mark: counts[mark])
    return best if counts[best] else default


def _json_lines(path: Path, columns: Columns) -> Layout:
    seen: dict[str, None] = {}
    with _open_bytes(path) as file:
        try:
            for number, line in enumerate(itertools.islice(file, _JSON_SAMPLE), start=1):
                if line.strip():
                    seen.update(dict.fromkeys(_json_object(path, line, number=number)))
        except (EOFError, OSError, zlib.error) as error:
            raise _broken_gzip(path, error) from None
    if not seen:
        raise InputError(f"{path} is empty: it holds no JSON objects")
    names = _wanted(path, columns, list(seen))
    return Layout(
        reader="json",
        roles=_with_nulls({role: sql.quoted(name) for role, name in names.items()}),
        names=names,
        fields=tuple(dict.fromkeys(names.values())),
        gzipped=path.suffix.lower() == ".gz",
    )


def _json_object(path: Path, line: bytes, *, number: int) -> dict[str, object]:
    """The object on a line. Raises `InputError` naming the line where there is none."""
    text = _decoded(path, line, number=number)
    if number == 1 and text.startswith("["):
        raise InputError(f"{path} holds a JSON array: write one object a line instead (JSON lines)")
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path} has a line that is not JSON, line {number}: {error}") from None
    if not isinstance(value, dict):
        raise InputError(f"{path} has a line that is not a JSON object, line {number}: {text[:60]}")
    return value


def broken_json_line(path: Path) -> InputError | None:
    """The complaint about the first line that holds no JSON object, found by reading line by line."""
    with _open_bytes(path) as file:
        try:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    _json_object(path, line, number=number)
        except InputError as error:
            return error
    return None


def _parquet(path: Path, columns: Columns) -> Layout:
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as error:
        detail = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"{path} is not a whole Parquet file (cut short or damaged): {detail}") from None
    names = _wanted(path, columns, schema.names)
    roles = {role: _parquet_text(path, name, schema.field(name).type, role=role) for role, name in names.items()}
    return Layout(reader="parquet", roles=_with_nulls(roles), names=names)


def _parquet_text(path: Path, name: str, arrow_type: pa.DataType, *, role: str) -> str:
    """SQL that gives a Parquet column as text."""
    column = sql.quoted(name)
    if pa.types.is_nested(arrow_type):
        raise InputError(f"{path}: column {name!r} holds {arrow_type} values where one value a row is needed")
    if pa.types.is_timestamp(arrow_type) or pa.types.is_date(arrow_type):
        return f"{column}::TIMESTAMP::VARCHAR"
    if role in ("user", "item") and pa.types.is_floating(arrow_type):
        # Integers that once stood beside missing values were stored as 1.0, 2.0, …
        whole = f"{column} = trunc({column}) AND abs({column}) < 9007199254740992"
        text = f"WHEN {whole} THEN {column}::BIGINT::VARCHAR WHEN NOT isnan({column}) THEN {column}::VARCHAR"
        return f"CASE {text} END"
    return f"{column}::VARCHAR"


def _wanted(path: Path, columns: Columns, existing: Sequence[str]) -> dict[str, str]:
    """The columns that were asked for, by role. Raises `InputError` for an absent one."""
    asked = {role: name for role, name in columns.model_dump().items() if name is not None}
    if asked["user"] == asked["item"]:
        raise InputError(f"column {asked['user']!r} is named for both the users and the items of {path}")
    for role, name in asked.items():
        if name not in existing:
            raise InputError(
                f"{path} has no column {name!r} (asked for as the {role} column): "
                f"its columns are {', '.join(existing)}{_nearest(name, existing)}"
            )
    return asked


def _nearest(name: str, existing: Sequence[str]) -> str:
    lowered = {candidate.lower(): candidate for candidate in existing}
    close = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.5)
    return f"; did you mean {lowered[close[0]]!r}?" if close else ""


def _with_nulls(roles: dict[str, str]) -> dict[str, str]:
    return dict.fromkeys(("user", "item", "time", "order", "noise"), "NULL::VARCHAR") | roles


def _first_line(path: Path) -> str:
    with _open_bytes(path) as file:
        try:
            line = _decoded(path, file.readline(), number=1)
        except (EOFError, OSError, zlib.error) as error:
            raise _broken_gzip(path, error) from None
    if not line:
        raise InputError(f"{path} is empty: its first line holds nothing")
    return line


def _open_bytes(path: Path) -> IO[bytes]:
    if path.suffix.lower() == ".gz":
        return cast(IO[bytes], gzip.open(path))
    return path.open("rb")


def _decoded(path: Path, line: bytes, *, number: int) -> str:
    """A line as text, without its end and a byte-order mark. Raises `InputError` where it is not UTF-8."""
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise InputError(f"{path}, line {number}: not UTF-8 text, save the file as UTF-8") from None


def _broken_gzip(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} is not a whole gzip file (cut short or damaged): {error}")
