"""A log on disk: its files, their checksums, and how they are read."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tasks.data_specs import SourceSpec
from tasks.digests import file_digest
from tasks.errors import InputError


@dataclass(frozen=True)
class LogFile:
    """A file on disk and the SHA-256 of its bytes; its size in bytes and its time of change in nanoseconds since 1970
    as they were before these were read.
    """

    path: Path
    sha256: str
    size: int
    changed: int


@dataclass(frozen=True)
class Log:
    """Files that are read one after the other as one log, in the way `source` says (columns, format)."""

    files: tuple[LogFile, ...]
    source: SourceSpec


def log_of(source: SourceSpec, *paths: Path) -> Log:
    """The log in the files `paths`, which exist."""
    return Log(tuple(map(log_file, paths)), source)


def log_file(path: Path, *, sha256: str | None = None) -> LogFile:
    """The file at `path` as it is now; `sha256` is that of its bytes where it is known."""
    size, changed = _stamp(path)
    return LogFile(path, sha256 or file_digest(path), size, changed)


def refuse_changed(log: Log) -> None:
    """Raise `InputError` where a file is not the one any more whose checksum the log has."""
    for file in log.files:
        if not file.path.exists() or _stamp(file.path) != (file.size, file.changed):
            raise InputError(f"{file.path} changed while it was read: try again when it is complete")


def identity(log: Log) -> dict[str, Any]:
    """What a step key says about a log: its bytes and how they are read, not where they lie, nor since when."""
    # A file's suffixes can decide how it is read.
    return {
        "files": [{"sha256": file.sha256, "suffixes": file.path.suffixes} for file in log.files],
        "source": log.source.model_dump(mode="json", exclude={"path"}),
        "duckdb": version("duckdb"),
    }


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
