"""Snapshots: immutable folders of Parquet that hold one prepared log each.

A snapshot is named by the digest of what its tables say, so the same log prepared the same
way has the same name on every machine, whatever its file's format, row groups or threads.
"""

import json
import os
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

import sql
from tasks.digests import file_digest, snapshot_digest, table_digest
from tasks.engine import limits
from tasks.errors import InputError
from tasks.frozen import Frozen
from tasks.home import Home
from tasks.scratch import publish

SCHEMA_VERSION = 2
TABLES = ("interactions", "targets", "users", "items")
CHANGES = ("corrupt", "filter", "forget")
"""What makes a snapshot of another: entries of its spec, in the order in which they were done."""

_NAME_LENGTH = 16
_MANIFEST = "manifest.json"
_ROW_GROUP = 122_880

IdType = Literal["integer", "string"]


class SourceFile(Frozen):
    """A file that the snapshot was made from."""

    name: str
    bytes: int
    sha256: str


class Counts(Frozen):
    """Rows of the tables. `noisy`: training positions whose label is a kind of noise."""

    interactions: int
    users: int
    items: int
    targets_validation: int
    targets_promotion: int
    targets_test: int
    noisy: int
    training: int


class Traits(Frozen):
    """How the tables are to be read. `labelled`: a null `noise_kind` means genuine, not unknown."""

    labelled: bool
    user_id_type: IdType
    item_id_type: IdType
    has_times: bool


class Changes(Frozen):
    """What noise on purpose did. `moved`: events that exchanged items. All are numbers of events but `users_added`."""

    replaced: int = 0
    inserted: int = 0
    deleted: int = 0
    moved: int = 0
    users_added: int = 0


class FilterVerdict(Frozen):
    """How well a filter told what is labelled as noise in what it left interactions out of.

    left_out: the share of the judged interactions that it left out; auroc: of how unlikely it took them to be genuine;
    precision: the share of what it left out that is noise; recall: the share of the noise that it left out
    """

    left_out: float
    auroc: float
    precision: float
    recall: float


class Origin(Frozen):
    """Where a snapshot comes from.

    `parent` and `clean` are digests: of the snapshot that it was made from, and of the one
    without injected noise at the root; both `None` for a snapshot made from files alone.
    `verdict` is that of the filter that makes it, where labels measure one.
    """

    sources: tuple[SourceFile, ...]
    spec: dict[str, Any]
    parent: str | None = None
    clean: str | None = None
    realised_ratio: float | None = None
    changes: Changes | None = None
    verdict: FilterVerdict | None = None


class Manifest(Traits):
    """What `manifest.json` says. `files` maps a file's name to the SHA-256 of its bytes. `verdict` is that of the
    filter that made the snapshot, None where none did or nothing was labelled as noise.
    """

    schema_version: int
    digest: str
    parent: str | None
    clean: str
    sources: tuple[SourceFile, ...]
    spec: dict[str, Any]
    realised_ratio: float | None
    changes: Changes | None = None
    verdict: FilterVerdict | None = None
    counts: Counts
    files: dict[str, str]

    @property
    def has_injected_noise(self) -> bool:
        return "corrupt" in self.spec

    @property
    def last_change(self) -> str | None:
        """What of `CHANGES` was done to the parent; None for a snapshot made from files alone."""
        return next((change for change in reversed(self.spec) if change in CHANGES), None)

    def spec_after(self, change: str, settings: Any) -> dict[str, Any]:
        """The spec of a snapshot that one of `CHANGES` makes of this one; the last change comes last."""
        return {name: held for name, held in self.spec.items() if name != change} | {change: settings}


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

    def asked_as(self, origin: Origin) -> "Snapshot":
        """This snapshot as what is asked for now makes it. The manifest in its folder says what made it first, which
        may have been another file, or read and prepared in another way, of the same content.
        """
        now = {name: getattr(origin, name) for name in Origin.model_fields} | {"clean": origin.clean or self.digest}
        return Snapshot(self.path, self.manifest.model_copy(update=now))

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

    Raises `InputError` where there is none, where its manifest cannot be read, or where
    another version of the project wrote it in a format of its own.
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
            f"this version reads {SCHEMA_VERSION}): update it, or ingest the log again"
        )
    if isinstance(version, int) and version < SCHEMA_VERSION:
        raise InputError(
            f"{path} was written by an older version of this project (snapshot format {version}, "
            f"this version reads {SCHEMA_VERSION}): ingest the log again"
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
    connection: duckdb.DuckDBPyConnection,
    work: Path,
    *,
    home: Home,
    traits: Traits,
    origin: Origin,
    in_order: Collection[str] = (),
) -> Snapshot:
    """Write the relations `interactions`, `targets`, `users` and `items` of `connection`.

    `work` is a working folder inside `home.snapshots`. Where a snapshot that says the same
    is there already, that one is returned as it is. `in_order`: which of the relations come in their canonical order
    (and the connection keeps it); the others are sorted.

    Raises `InputError` where the one that is there is damaged.
    """
    content = work / "content"
    content.mkdir()
    for table, query in _canonical_queries(in_order):
        target = sql.literal(str(content / f"{table}.parquet"))
        connection.execute(
            f"COPY ({query}) TO {target} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {_ROW_GROUP})"
        )
    digest = logical_digest(content, traits)
    counts = _count(connection)
    final = home.snapshots / snapshot_name(digest)
    found = final.exists()
    if not found:
        manifest = Manifest(
            **traits.model_dump(),
            schema_version=SCHEMA_VERSION,
            digest=digest,
            parent=origin.parent,
            clean=origin.clean or digest,
            sources=origin.sources,
            spec=origin.spec,
            realised_ratio=origin.realised_ratio,
            changes=origin.changes,
            verdict=origin.verdict,
            counts=counts,
            files={f"{table}.parquet": file_digest(content / f"{table}.parquet") for table in TABLES},
        )
        (content / _MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        publish(content, final)
    snapshot = open_snapshot(final)
    if found:
        verify_files(snapshot)
    return snapshot


def logical_digest(folder: Path, traits: Traits) -> str:
    """The digest of what the four Parquet files in `folder` say, read in the rows' order."""
    columns = [(table, name) for table in TABLES for name in pq.read_schema(folder / f"{table}.parquet").names]
    tables: dict[str, dict[str, str]] = {table: {} for table in TABLES}
    # A column at a time, in threads: reading and hashing let other threads run.
    with ThreadPoolExecutor(int(limits().get("threads", os.cpu_count() or 1))) as threads:
        found = threads.map(lambda column: _column_digest(folder / f"{column[0]}.parquet", column[1]), columns)
        for (table, name), digest in zip(columns, found, strict=True):
            tables[table][name] = digest
    return snapshot_digest(tables, traits.model_dump())


def _column_digest(path: Path, name: str) -> str:
    with pq.ParquetFile(path) as file:
        batches = file.iter_batches(batch_size=_ROW_GROUP, columns=[name], use_threads=False)
        field = file.schema_arrow.field(name)
        return table_digest(pa.schema([field]), batches)[name]


def _canonical_queries(in_order: Collection[str]) -> Iterator[tuple[str, str]]:
    order = "" if "interactions" in in_order else 'ORDER BY "user", position'
    yield "interactions", sql.load("snapshots/interactions", order=order)
    yield "targets", sql.load("snapshots/targets")
    yield "users", sql.load("snapshots/users")
    yield "items", sql.load("snapshots/items")


def _count(connection: duckdb.DuckDBPyConnection) -> Counts:
    result = connection.execute(sql.load("snapshots/counts"))
    names = [column[0] for column in result.description or []]
    return Counts(**dict(zip(names, result.fetchone() or (), strict=True)))
