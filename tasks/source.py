"""The log that a job starts from: a person's file, or the generated shoppers."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tasks.digests import file_digest, spec_digest
from tasks.home import Home
from tasks.ingest import inspect_source
from tasks.keys import code_digest
from tasks.shoppers import generate
from tasks.specs import SourceSpec


@dataclass(frozen=True)
class LogFile:
    """A log on disk and the SHA-256 of its bytes."""

    path: Path
    digest: str


def obtain_log(source: SourceSpec, *, home: Home) -> LogFile:
    """The file of `source`, generated first where it is the project's own.

    Raises `InputError` where the file cannot be what it is said to be (see `tasks.ingest.inspect_source`).
    """
    if source.path is not None:
        inspect_source(source)
        path = Path(source.path).expanduser()
    else:
        name = f"shoppers-{spec_digest(source.shoppers)[:12]}-{code_digest(('tasks.shoppers',))[:12]}.parquet"
        path = home.sources / name
        if not path.exists():
            generate(source.shoppers, path)
    return LogFile(path, file_digest(path))


def identity(source: SourceSpec, log: LogFile) -> dict[str, Any]:
    """What a step key says about a log: its bytes and how they are read, not where they lie."""
    # A file's suffixes can decide how it is read.
    read_as = source.model_dump(mode="json", exclude={"path"})
    return {"log": log.digest, "suffixes": log.path.suffixes, "source": read_as, "duckdb": version("duckdb")}
