"""Snapshots: immutable folders of Parquet that hold one prepared log each.

A snapshot is named by the digest of what its tables say, so the same log prepared the same
way has the same name on every machine, whatever its file's format, row groups or threads.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow.parquet as pq
from pydantic import ValidationError

import sql
from tasks.digests import file_digest, snapshot_digest, table_digest
from tasks.errors import InputError
from tasks.home import Home
from tasks.scratch import publish
from tasks.specs import Spec

SCHEMA_VERSION = 1
TABLES = ("interactions", "targets", "users", "items")

_NAME_LENGTH = 16
_MANIFEST = "manifest.json"
_ROW_GROUP = 122_880

IdType = Literal["integer", "string"]


class SourceFile(Spec):
    """A file that the snapshot was made from."""

    name: str
    bytes: int
    sha256: str


class Counts(Spec):
    """Rows of the tables. `noisy`: training positions whose label is a kind of noise."""

    interactions: int
    users: int
    items: int
    targets_validation: int
    targets_test: int
    noisy: int
    training: int


class Traits(Spec):
    """How the tables are to be read. `labelled`: a null `noise_kind` means genuine, not unknown."""

    labelled: bool
    user_id_type: IdType
    item_id_type: IdType
    has_times: bool


class Origin(Spec):
    """Where a snapshot comes from.

    `parent` and `clean` are digests: of the snapshot that it was made from, and of the one
    without injected noise at the root; both `None` for a snapshot made from files alone.
    """

    sources: tuple[SourceFile, ...]
    spec: dict[str, Any]
    parent: str | None = None
    clean: str | None = None
    realised_ratio: float | None = None


class Manifest(Traits):
    """What `manifest.json` says. `files` maps a file's name to the SHA-256 of its bytes."""

    schema_version: int
    digest: str
    parent: str | None
    clean: str
    sources: tuple[SourceFile, ...]
    spec: dict[str, Any]
    realised_ratio: float | None
    counts: Counts
    files: dict[str, str]


@dataclass(frozen=True)
class Snapshot:
    """A folder and what its manifest says about it."""

    path: Path
    manifest: Manifest

    @property
    def digest(self) -> str:
        """SHA-256 of the tables' canonical logical columns, in hex."""
        return self.manifest.digest

    @property
    def name(self) -> str:
        """The folder's name: the digest's first 16 hex digits."""
        return snapshot_name(self.digest)

    @property
    def counts(self) -> Counts:
        """Rows of the tables."""
        return self.manifest.counts

    @property
    def interactions(self) -> Path:
        """user, item, time, position, noise_kind; sorted by user and position."""
        return self.path / "interactions.parquet"

    @property
    def targets(self) -> Path:
        """target, user, item, split, history; sorted by target."""
        return self.path / "targets.parquet"

    @property
    def users(self) -> Path:
        """user, user_id, train_length; sorted by user."""
        return self.path / "users.parquet"

    @property
    def items(self) -> Path:
        """item, item_id; sorted by item."""
        return self.path / "items.parquet"


def snapshot_name(digest: str) -> str:
    """The name of the folder of the snapshot with this digest."""
    return digest[:_NAME_LENGTH]


def open_snapshot(path: Path) -> Snapshot:
    """The snapshot in the folder `path`; only its manifest is read.

    Raises `InputError` where there is none, where its manifest cannot be read, or where a
    newer version of the project wrote it.
    """
    manifest_path = path / _MANIFEST
    try:
        content = json.loads(manifest_path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path} is not a snapshot: it has no {_MANIFEST}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{manifest_path} cannot be read as JSON: {error}") from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise InputError(
            f"{path} was written by a newer version of this project (snapshot format {version}, "
            f"this version reads up to {SCHEMA_VERSION}): update it, or ingest the log again"
        )
    try:
        manifest = Manifest.model_validate_json(json.dumps(content))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "its whole"
        raise InputError(f"{manifest_path} is not a snapshot's manifest: {field}: {first['msg']}") from None
    return Snapshot(path=path, manifest=manifest)


def verify_files(snapshot: Snapshot) -> None:
    """Compare every file's bytes with the manifest.

    Raises `InputError` naming the first file that is missing or differs.
    """
    for name, expected in sorted(snapshot.manifest.files.items()):
        path = snapshot.path / name
        if not path.is_file():
            raise InputError(f"{path} is missing: delete the folder {snapshot.path} and ingest the log again")
        if file_digest(path) != expected:
            raise InputError(
                f"{path} is damaged (its bytes differ from the manifest's checksum): "
                f"delete the folder {snapshot.path} and ingest the log again"
            )


def write_snapshot(
    connection: duckdb.DuckDBPyConnection, work: Path, *, home: Home, traits: Traits, origin: Origin
) -> Snapshot:
    """Write the relations `interactions`, `targets`, `users` and `items` of `connection`.

    `work` is a working folder inside `home.snapshots`. Where a snapshot that says the same
    is there already, that one is returned as it is.

    Raises `InputError` where the one that is there is damaged.
    """
    content = work / "content"
    content.mkdir()
    for table, query in _canonical_queries():
        target = sql.literal(str(content / f"{table}.parquet"))
        connection.execute(
            f"COPY ({query}) TO {target} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {_ROW_GROUP})"
        )
    digest = logical_digest(content, traits)
    counts = _count(connection)
    final = home.snapshots / snapshot_name(digest)
    if not final.exists():
        manifest = Manifest(
            **traits.model_dump(),
            schema_version=SCHEMA_VERSION,
            digest=digest,
            parent=origin.parent,
            clean=origin.clean or digest,
            sources=origin.sources,
            spec=origin.spec,
            realised_ratio=origin.realised_ratio,
            counts=counts,
            files={f"{table}.parquet": file_digest(content / f"{table}.parquet") for table in TABLES},
        )
        (content / _MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        publish(content, final)
    snapshot = open_snapshot(final)
    verify_files(snapshot)
    return snapshot


def logical_digest(folder: Path, traits: Traits) -> str:
    """The digest of what the four Parquet files in `folder` say, read in the rows' order."""
    tables: dict[str, Mapping[str, str]] = {}
    for table in TABLES:
        with pq.ParquetFile(folder / f"{table}.parquet") as file:
            tables[table] = table_digest(file.schema_arrow, file.iter_batches())
    return snapshot_digest(tables, traits.model_dump())


def _canonical_queries() -> Iterator[tuple[str, str]]:
    yield "interactions", sql.load("snapshots/interactions")
    yield "targets", sql.load("snapshots/targets")
    yield "users", sql.load("snapshots/users")
    yield "items", sql.load("snapshots/items")


def _count(connection: duckdb.DuckDBPyConnection) -> Counts:
    result = connection.execute(sql.load("snapshots/counts"))
    names = [column[0] for column in result.description or []]
    return Counts(**dict(zip(names, result.fetchone() or (), strict=True)))
