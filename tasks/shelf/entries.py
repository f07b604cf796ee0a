"""The snapshots that lie in the state folder: which there are, whether they are whole, and what stands on what."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa

import sql
from tasks.digests import file_digest
from tasks.engine import engine, one_row
from tasks.errors import InputError
from tasks.home import Home
from tasks.snapshots import TABLES, Manifest, Snapshot, Traits, logical_digest, open_snapshot, snapshot_name

_NAME = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Entry:
    """What lies on the shelf under one name.

    `snapshot` is None where it cannot be opened, for the reason that `fault` gives. `bytes`: its size on the disk.
    """

    path: Path
    snapshot: Snapshot | None
    fault: str | None
    bytes: int
    made: datetime

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def is_foreign(self) -> bool:
        """Is it something that this project did not put there?"""
        return self.snapshot is None and not (self.path.is_dir() and _NAME.fullmatch(self.name))

    @property
    def parent(self) -> str | None:
        """The name of the snapshot that it was made from."""
        return _name_of(self.snapshot.manifest.parent) if self.snapshot else None

    @property
    def clean(self) -> str | None:
        """The name of the snapshot without injected noise at its root; its own where it has none."""
        return _name_of(self.snapshot.manifest.clean) if self.snapshot else None

    @property
    def stands_on(self) -> frozenset[str]:
        """The names of the snapshots that it is of no use without. One without a person stands alone, for it is
        made so that the other can go.
        """
        if self.clean is None or self.clean == self.name:
            return frozenset()
        return frozenset({self.clean, self.parent or self.clean})


def read_shelf(home: Home) -> tuple[Entry, ...]:
    """All that lies there, the oldest first; what is being written is left out, and what is taken away meanwhile."""
    if not home.snapshots.is_dir():
        return ()
    entries = []
    for path in home.snapshots.iterdir():
        if not path.name.startswith("."):
            with suppress(FileNotFoundError):
                entries.append(_entry(path))
    return tuple(sorted(entries, key=lambda entry: (entry.made, entry.name)))


def find(prefix: str, entries: Sequence[Entry]) -> Entry:
    """The entry whose name is `prefix`, or the only one whose name begins with it.

    Raises `InputError` where there is none, or where there are several.
    """
    exact = [entry for entry in entries if entry.name == prefix]
    found = exact or [entry for entry in entries if prefix and entry.name.startswith(prefix)]
    if not found:
        raise InputError(f"there is no snapshot {prefix!r}: `rec-denoiser snapshots` lists those that there are")
    if len(found) > 1:
        names = ", ".join(entry.name for entry in found)
        raise InputError(f"{prefix!r} is the beginning of several snapshots' names: {names}")
    return found[0]


def opened(entry: Entry) -> Snapshot:
    """The entry's snapshot. Raises `InputError` where it cannot be opened."""
    if entry.snapshot is None:
        raise InputError(entry.fault or f"{entry.path} is not a snapshot")
    return entry.snapshot


def indented(entries: Sequence[Entry]) -> Iterator[tuple[int, Entry]]:
    """Each entry with its depth: 1 for those with noise put in or filtered out, under their clean one, else 0."""
    names = {entry.name for entry in entries}
    for entry in entries:
        if entry.stands_on and entry.clean in names:
            continue
        yield 0, entry
        for other in entries:
            if other.stands_on and other.clean == entry.name:
                yield 1, other


def standing_on(name: str, entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Those made by putting noise into the snapshot `name`, by filtering it, or of one that was."""
    return tuple(entry for entry in entries if name in entry.stands_on)


def faults(entry: Entry) -> list[str]:
    """All that is wrong with a snapshot, a sentence each; every byte and every row is read."""
    if entry.snapshot is None:
        return [entry.fault or f"{entry.path} is not a snapshot"]
    manifest = entry.snapshot.manifest
    expected = {f"{table}.parquet" for table in TABLES}
    found = [f"{entry.path / name} is in no manifest" for name in sorted(expected - set(manifest.files))]
    absent = False
    for name in sorted(expected | set(manifest.files)):
        path = entry.path / name
        if not path.is_file():
            absent = True
            found.append(f"{path} is missing")
        elif name in manifest.files and file_digest(path) != manifest.files[name]:
            found.append(f"{path} is damaged: its bytes differ from the manifest's checksum")
    return found if absent else [*found, *_contradictions(entry.path, manifest)]


def _contradictions(path: Path, manifest: Manifest) -> Iterator[str]:
    """What the tables say against the manifest."""
    try:
        digest = logical_digest(path, Traits.model_validate(manifest.model_dump(include=set(Traits.model_fields))))
        counted = _counted(path)
    except (pa.ArrowException, duckdb.Error, OSError, TypeError, ValueError) as error:
        yield f"{path}: its tables cannot be read: {str(error).splitlines()[0]}"
        return
    if digest != manifest.digest:
        yield f"{path}: what its tables say has the digest {digest[:16]}…, not that of its name"
    for name, count in manifest.counts.model_dump().items():
        if counted[name] != count:
            yield f"{path}: the manifest counts {count:,} {name.replace('_', ' ')}, its tables hold {counted[name]:,}"


def _counted(path: Path) -> dict[str, int]:
    with engine() as connection:
        for table in TABLES:
            file = sql.literal(str(path / f"{table}.parquet"))
            connection.execute(sql.load("shelf/table", table=table, file=file))
        query = sql.load("snapshots/counts")
        names = [str(row[0]) for row in connection.execute(f"DESCRIBE {query}").fetchall()]
        return dict(zip(names, one_row(connection, query), strict=True))


def _entry(path: Path) -> Entry:
    """Raises `FileNotFoundError` where another process takes it away meanwhile."""
    snapshot, fault = None, None
    try:
        snapshot = open_snapshot(path)
    except InputError as error:
        fault = str(error)
    if snapshot is not None and snapshot.name != path.name:
        fault = f"{path} has the manifest of another snapshot, {snapshot.name}: rename the folder or delete it"
        snapshot = None
    files = [file.stat() for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()]
    manifest = path / "manifest.json"
    made = (manifest if manifest.is_file() else path).stat().st_mtime
    return Entry(path, snapshot, fault, sum(file.st_size for file in files), datetime.fromtimestamp(made, UTC))


def _name_of(digest: str | None) -> str | None:
    return None if digest is None else snapshot_name(digest)
