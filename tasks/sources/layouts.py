"""What an interaction log's file looks like: its format, and where its columns lie.

Only a file's beginning (of Parquet, its footer) is read here, so that a wrong request is
refused before anything runs.
"""

import csv
import difflib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import sql
from tasks.data_specs import Columns, SourceSpec
from tasks.errors import InputError
from tasks.sources.formats import COLUMNS, Beginning, Format, Kind, formats_named, known_formats, recognised
from tasks.sources.textfiles import beginning_of, compression_of, first_line, kind_of, numbered_lines

DELIMITED_SUFFIXES = (".csv", ".tsv", ".txt")
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
PARQUET_SUFFIXES = (".parquet",)
_TIMES = ("time", "timestamp", "datetime", "date", "ts")
"""What columns of times are called."""

_JSON_SAMPLE = 1_000
_ARCHIVES = (".zip", ".tar", ".tgz", ".7z", ".rar", ".bz2", ".xz", ".lz4")


@dataclass(frozen=True)
class Layout:
    """How a file is read.

    `format`: its name, and `shape`: what a line holds, for a person. `names`: the roles that the log has (user,
    item, time, order, rating, noise) and their names in the file. `query` and its `slots` give the SQL; `by_line`:
    that SQL takes a slot `line` and numbers the file's rows by it, for its own are not the same. `columns`: what else
    must agree between files that are read as one log, and `held`: the same, for a person, where a file's format does
    not say it. `unread`: columns that are there and not read.
    """

    format: str
    shape: str
    kind: Kind
    names: dict[str, str]
    query: Callable[..., str]
    slots: dict[str, str] = field(default_factory=dict)
    by_line: bool = False
    columns: tuple[str, ...] = ()
    held: str = ""
    unread: tuple[str, ...] = ()

    def sql(self, path: Path, *, line: str = "NULL") -> str:
        """The query that reads the file at `path`; `line` is what numbers the file's rows, where `by_line`."""
        numbering = {"line": line} if self.by_line else {}
        return self.query(path=sql.literal(str(path)), **self.slots, **numbering)


def described(paths: Sequence[Path], source: SourceSpec) -> str:
    """What files are read as, in a line: "movielens-1m (ratings.dat): user::item::rating::time".

    Raises `InputError` as `recognise_all` does.
    """
    layout = recognise_all(paths, source)[0]
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"{layout.format} ({paths[0].name}{more}): {layout.shape}"


def untimed(paths: Sequence[Path], source: SourceSpec) -> str | None:
    """In a sentence, that files are read without the times that they seem to have; None where they are not.

    Raises `InputError` as `recognise_all` does.
    """
    layout = recognise_all(paths, source)[0]
    found = next((name for name in layout.unread if name.lower() in _TIMES), None)
    if found is None or "time" in layout.names:
        return None
    order = f"the numbers in {layout.names['order']!r} count" if "order" in layout.names else "the file's order counts"
    return f"no times: {order}; {paths[0].name} has a column {found!r}, which --time-col {found} reads"


def recognise_all(paths: Sequence[Path], source: SourceSpec) -> tuple[Layout, ...]:
    """The layouts of files that are read as one log, one each.

    Raises `InputError` as `recognise` does, and where a file is laid out otherwise than the first.
    """
    layouts = tuple(recognise(path, source) for path in paths)
    first = layouts[0]
    for path, layout in zip(paths[1:], layouts[1:], strict=True):
        if (layout.format, layout.names, layout.columns) != (first.format, first.names, first.columns):
            told = [f"{each.shape} ({each.format})" for each in (layout, first)]
            if told[0] == told[1]:
                told = [f"{each.kind} with the columns {each.held}" for each in (layout, first)]
            raise InputError(
                f"{path} is laid out otherwise than {paths[0]}, with which it would be one log: it holds {told[0]}, "
                f"the other {told[1]}"
            )
    return layouts


def recognise(path: Path, source: SourceSpec) -> Layout:
    """The layout of the file at `path`: of the format that `source` names, else with the columns that it names,
    else of the one published format that the file can be of, else with columns of the default names.

    Raises `InputError` in one sentence where there is no such format or it has columns of its own beside those that
    are named, and where the file is missing, a folder, unreadable, empty, of an unknown kind, not of the format that
    it is said to be, cut short (Parquet), or lacks a column that `source` asks for.
    """
    refuse_contradiction(source)
    _refuse_unreadable(path)
    if source.format not in (None, COLUMNS):
        return _published(path, str(source.format))
    kind = kind_of(path)
    if source.format is None and source.columns == Columns() and kind not in PARQUET_SUFFIXES:
        beginning = beginning_of(path)
        if format := recognised(beginning):
            return _layout_of(format, path, beginning)
    if kind in DELIMITED_SUFFIXES:
        return _delimited(path, source.columns, kind=kind)
    if kind in JSON_SUFFIXES:
        return _json_lines(path, source.columns)
    if kind in PARQUET_SUFFIXES and compression_of(path) == "uncompressed":
        return _parquet(path, source.columns)
    known = ", ".join((*DELIMITED_SUFFIXES, *JSON_SUFFIXES, *PARQUET_SUFFIXES))
    otherwise = "" if source.format == COLUMNS else ", or --format should say what it is"
    raise InputError(
        f"{path} is of an unknown kind: its name should end in one of {known}, of which the text ones may be "
        f"compressed (.csv.gz, .csv.zst){otherwise}"
    )


def refuse_contradiction(source: SourceSpec) -> None:
    """Raise `InputError` where there is no format of the name that `source` says, or columns are named beside one that
    has its own.
    """
    if source.format not in (None, *known_formats()):
        raise InputError(f"there is no format {source.format!r}: choose from {', '.join(known_formats())}")
    if source.format not in (None, COLUMNS) and source.columns != Columns():
        raise InputError(f"the {source.format} format has fixed columns: leave the column options out")


def broken_json_line(path: Path) -> InputError | None:
    """The complaint about the first line that holds no JSON object, found by reading line by line."""
    try:
        for number, text in numbered_lines(path):
            _json_object(path, text, number=number)
    except InputError as error:
        return error
    return None


def _refuse_unreadable(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a file: name the log's file, or a quoted pattern of its files")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    if empty:
        raise InputError(f"{path} is empty")
    if path.suffix.lower() in _ARCHIVES:
        raise InputError(
            f"{path} is packed in a way that is not read: unpack it and name the file within, which may be packed as "
            ".gz or .zst"
        )


def _published(path: Path, name: str) -> Layout:
    """The layout of a file that is said to be of a format, or of one of a family's."""
    beginning = beginning_of(path)
    if not beginning.lines:
        raise InputError(f"{path} is empty: its first lines hold nothing")
    formats = formats_named(name)
    for format in formats:
        if format.fits(beginning):
            return _layout_of(format, path, beginning)
    known = " or ".join(f"{format.shape} ({format.name})" for format in formats)
    raise InputError(
        f"{path} is not of the format {name}: its first line should hold {known}, not {beginning.first[:60]!r}"
    )


def _layout_of(format: Format, path: Path, beginning: Beginning) -> Layout:
    if format.has_header:
        _refuse_header_only(path)
    return Layout(
        format=format.name,
        shape=format.shape,
        kind=format.kind,
        names=dict(format.names),
        query=format.query,
        slots={"compression": sql.literal(compression_of(path)), **format.slots(beginning)},
        by_line=format.by_line,
    )


def _named_columns(names: dict[str, str]) -> str:
    """What a line of a log with named columns holds: `user 'who', item 'what'`."""
    return ", ".join(f"{role} {name!r}" for role, name in names.items())


def _delimited(path: Path, columns: Columns, *, kind: str) -> Layout:
    line = first_line(path)
    if "\r" in line:
        raise InputError(f"{path} has lines that end in a bare carriage return: save it with Unix line ends")
    delimiter = _delimiter(line, default="\t" if kind == ".tsv" else ",")
    header = _header_fields(path, line, delimiter=delimiter)
    names = _wanted(path, columns, header)
    _refuse_header_only(path)
    fields = ", ".join(f"'c{index}': 'VARCHAR'" for index in range(len(header)))
    return Layout(
        format=COLUMNS,
        shape=_named_columns(names),
        kind="delimited text",
        names=names,
        query=_delimited_query,
        slots={
            "columns": f"{{{fields}}}",
            "delimiter": sql.literal(delimiter),
            "compression": sql.literal(compression_of(path)),
            **_with_nulls({role: f"c{header.index(name)}" for role, name in names.items()}),
        },
        columns=tuple(header),
        held=", ".join(header),
        unread=_unread(names, header),
    )


def _header_fields(path: Path, line: str, *, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter))
    except csv.Error:
        most = csv.field_size_limit()
        raise InputError(f"{path}, line 1: more than {most:,} letters where a column's name belongs") from None


def _delimiter(header: str, *, default: str) -> str:
    """The mark that parts a header's names: the most frequent of the usual ones, outside quotes."""
    bare = "".join(header.split('"')[::2])
    counts = {mark: bare.count(mark) for mark in (default, ",", "\t", ";", "|")}
    best = max(counts, key=lambda mark: counts[mark])
    return best if counts[best] else default


def _refuse_header_only(path: Path) -> None:
    if len(list(zip(range(2), numbered_lines(path), strict=False))) < 2:
        raise InputError(f"{path} holds no interactions: it has a header and no rows")


def _json_lines(path: Path, columns: Columns) -> Layout:
    seen: dict[str, None] = {}
    nested: dict[str, int] = {}
    for number, text in numbered_lines(path, most=_JSON_SAMPLE):
        values = _json_object(path, text, number=number)
        seen.update(dict.fromkeys(values))
        for name, value in values.items():
            if isinstance(value, list | dict):
                nested.setdefault(name, number)
    if not seen:
        raise InputError(f"{path} is empty: it holds no JSON objects")
    names = _wanted(path, columns, list(seen))
    _refuse_alike(path, names)
    for name in names.values():
        if name in nested:
            where = f"{path}, line {nested[name]}, column {name!r}"
            raise InputError(f"{where}: a list or an object where one value is needed, write a line for each event")
    fields = ", ".join(f"{sql.literal(name)}: 'VARCHAR'" for name in dict.fromkeys(names.values()))
    return Layout(
        format=COLUMNS,
        shape=_named_columns(names),
        kind="JSON lines",
        names=names,
        query=_json_query,
        slots={
            "columns": f"{{{fields}}}",
            "compression": sql.literal(compression_of(path)),
            **_with_nulls({role: sql.quoted(name) for role, name in names.items()}),
        },
        held=", ".join(names.values()),
        unread=_unread(names, list(seen)),
    )


def _refuse_alike(path: Path, names: dict[str, str]) -> None:
    """Raise `InputError` where two fields that are to be read differ in case alone: to DuckDB they are the same."""
    seen: dict[str, str] = {}
    for name in names.values():
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise InputError(
                f"{path}: the columns {other!r} and {name!r} differ in case alone, and of JSON lines only one of them "
                "can be read: rename one"
            )


def _json_object(path: Path, text: str, *, number: int) -> dict[str, object]:
    """The object on a line. Raises `InputError` naming the line where there is none."""
    if number == 1 and text.startswith("["):
        raise InputError(f"{path} holds a JSON array: write one object a line instead (JSON lines)")
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path} has a line that is not JSON, line {number}: {error}") from None
    except RecursionError:
        raise InputError(f"{path} has a line that is nested too deeply to be read, line {number}") from None
    if not isinstance(value, dict):
        raise InputError(f"{path} has a line that is not a JSON object, line {number}: {text[:60]}")
    return value


def _parquet(path: Path, columns: Columns) -> Layout:
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as error:
        detail = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"{path} is not a whole Parquet file (cut short or damaged): {detail}") from None
    names = _wanted(path, columns, schema.names)
    places = {role: schema.names.index(name) for role, name in names.items()}
    texts = {role: _parquet_text(path, schema.field(place), role=role) for role, place in places.items()}
    # By their places: to DuckDB names that differ in case alone are the same.
    read = {role: text.format(column=f"c{places[role]}") for role, text in texts.items()}
    return Layout(
        format=COLUMNS,
        shape=_named_columns(names),
        kind="Parquet",
        names=names,
        query=_parquet_query,
        slots={"columns": ", ".join(f"c{place}" for place in range(len(schema.names))), **_with_nulls(read)},
        columns=tuple(texts.values()),
        held=", ".join(f"{name} ({schema.field(places[role]).type})" for role, name in names.items()),
        unread=_unread(names, schema.names),
    )


def _parquet_text(path: Path, field: pa.Field, *, role: str) -> str:
    """SQL with a slot for a Parquet `column` that gives it as text, or as it is where that says the same: integers, and
    moments in time.
    """
    kind = field.type
    if pa.types.is_nested(kind):
        raise InputError(f"{path}: column {field.name!r} holds {kind} values where one value a row is needed")
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        # Other columns of dates are ids like any text.
        return "{column}::TIMESTAMP" if role == "time" else "{column}::TIMESTAMP::VARCHAR"
    if role != "noise" and pa.types.is_integer(kind) and kind != pa.uint64():
        return "{column}::BIGINT"
    if role == "rating" and pa.types.is_floating(kind):
        return "{column}::DOUBLE"
    if role in ("user", "item") and pa.types.is_floating(kind):
        # Integers that once stood beside missing values were stored as 1.0, 2.0, …
        whole = "{column} = trunc({column}) AND abs({column}) < 9007199254740992"
        text = f"WHEN {whole} THEN {{column}}::BIGINT::VARCHAR WHEN NOT isnan({{column}}) THEN {{column}}::VARCHAR"
        return f"CASE {text} END"
    return "{column}::VARCHAR"


def _wanted(path: Path, columns: Columns, existing: Sequence[str]) -> dict[str, str]:
    """The columns that were asked for, by role. Raises `InputError` for one that is absent, or there twice."""
    asked = {role: name for role, name in columns.model_dump().items() if name is not None}
    if asked["user"] == asked["item"]:
        raise InputError(f"column {asked['user']!r} is named for both the users and the items of {path}")
    for role, name in asked.items():
        if existing.count(name) > 1:
            raise InputError(f"{path} has {existing.count(name)} columns named {name!r}: rename all but one")
        if name not in existing:
            raise InputError(
                f"{path} has no column {name!r} (asked for as the {role} column): "
                f"its columns are {', '.join(existing)}{_nearest(name, existing)}"
            )
    return asked


def _unread(names: dict[str, str], existing: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in existing if name not in names.values())


def _nearest(name: str, existing: Sequence[str]) -> str:
    lowered = {candidate.lower(): candidate for candidate in existing}
    close = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.5)
    return f"; did you mean {lowered[close[0]]!r}?" if close else ""


def _with_nulls(roles: dict[str, str]) -> dict[str, str]:
    return dict.fromkeys(("user", "item", "time", "order", "rating", "noise"), "NULL::VARCHAR") | roles


def _delimited_query(**slots: str) -> str:
    return sql.load("sources/delimited", **slots)


def _json_query(**slots: str) -> str:
    return sql.load("sources/json_lines", **slots)


def _parquet_query(**slots: str) -> str:
    return sql.load("sources/parquet", **slots)
