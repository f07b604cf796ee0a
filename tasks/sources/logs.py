"""A log on disk: its files, their checksums, and how they are read."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tasks.digests import file_digest
from tasks.specs import SourceSpec


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
