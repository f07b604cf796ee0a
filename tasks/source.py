"""The log that a job starts from: a person's files, or the generated shoppers."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tasks.digests import file_digest, spec_digest
from tasks.home import Home
from tasks.keys import code_digest
from tasks.layouts import recognise
from tasks.shoppers import generate
from tasks.specs import Columns, SourceSpec

SHOPPERS_COLUMNS = Columns(user="user_id", item="item_id", time="time", noise="noise")


@dataclass(frozen=True)
class LogFile:
    """A file on disk and the SHA-256 of its bytes."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class Log:
    """Files that are read one after the other as one log, in the way `source` says (columns, format)."""

    files: tuple[LogFile, ...]
    source: SourceSpec


def inspect_source(source: SourceSpec) -> None:
    """Refuse a source that cannot be ingested, at the cost of reading its files' beginnings.

    Raises `InputError` in one sentence: missing, a folder, unreadable, empty, of an unknown kind,
    a Parquet file cut short, an absent column. The generated shoppers always pass.
    """
    if source.path is not None:
        recognise(Path(source.path).expanduser(), source)


def obtain_log(source: SourceSpec, *, home: Home) -> Log:
    """The files of `source`, generated first where they are the project's own.

    Raises `InputError` where a file cannot be what it is said to be (see `inspect_source`).
    """
    if source.path is not None:
        inspect_source(source)
        return log_of(source, Path(source.path).expanduser())
    name = f"shoppers-{spec_digest(source.shoppers)[:12]}-{code_digest(('tasks.shoppers',))[:12]}.parquet"
    path = home.sources / name
    if not path.exists():
        generate(source.shoppers, path)
    return log_of(source.model_copy(update={"columns": SHOPPERS_COLUMNS}), path)


def log_of(source: SourceSpec, *paths: Path) -> Log:
    """The log in the files `paths`, which exist."""
    return Log(tuple(LogFile(path, file_digest(path)) for path in paths), source)


def identity(log: Log) -> dict[str, Any]:
    """What a step key says about a log: its bytes and how they are read, not where they lie."""
    # A file's suffixes can decide how it is read.
    return {
        "files": [{"sha256": file.sha256, "suffixes": file.path.suffixes} for file in log.files],
        "source": log.source.model_dump(mode="json", exclude={"path"}),
        "duckdb": version("duckdb"),
    }
