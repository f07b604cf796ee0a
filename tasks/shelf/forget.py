"""Forget a person: a new snapshot without them, and what still knows them.

Preparation is not done again: who and what was kept by the k-core stays, and so do the other users' split and
training parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

import sql
from tasks.engine import engine, one_row
from tasks.errors import InputError
from tasks.home import Home
from tasks.scratch import working_folder
from tasks.shelf.entries import Entry, read_shelf, standing_on
from tasks.shelf.references import References, references
from tasks.snapshots import Origin, Snapshot, Traits, snapshot_name, verify_files, write_snapshot


@dataclass(frozen=True)
class Forgotten:
    """The snapshot `old`, and `new` without `users` of its users."""

    old: Snapshot
    new: Snapshot
    users: int


@dataclass(frozen=True)
class Remains:
    """What still knows the forgotten.

    `made_of_it`: the snapshots that stand on the old one; `others`: those of the same files, made another way. `used`:
    what refers to the old one or to `made_of_it`, None where it could not be looked up for the reason in `unknown`.
    `kept`: folders of finished trainings, rankings and detections of those runs, which are kept for their next use.
    `scored` and `audits`: files of scored users and folders of audits with their rows. `docs`: Data Docs of logs that
    show an id like theirs in a row, be it of an item.
    """

    made_of_it: tuple[Entry, ...]
    others: tuple[Snapshot, ...]
    used: References | None
    unknown: str | None
    kept: tuple[Path, ...]
    scored: tuple[Path, ...]
    audits: tuple[Path, ...]
    docs: tuple[Path, ...]


def forget(snapshot: Snapshot, ids: Sequence[str], *, home: Home) -> Forgotten:
    """Write the snapshot without the users with these raw ids, and without the items that only they had.

    Users, items and targets are numbered anew in their old order. Its spec says how many were forgotten, not who.

    Raises `InputError` where a file of the snapshot is damaged, where it has injected noise, where an id is not one
    of its users', or where nobody would be left to train on, to validate on or to test on.
    """
    manifest = snapshot.manifest
    if manifest.has_injected_noise:
        raise InputError(
            f"the snapshot {snapshot.name} has injected noise: forget the person in the clean one, "
            f"{snapshot_name(manifest.clean)}, and put noise into what comes of it"
        )
    verify_files(snapshot)
    wanted = sorted(set(ids))
    with working_folder(home.snapshots) as work, engine(work / "spill") as connection:
        _refuse_unknown(connection, snapshot, wanted)
        _leave_out(connection, snapshot, wanted)
        _refuse_empty(connection, snapshot)
        origin = Origin(
            sources=manifest.sources,
            spec=manifest.spec_after("forget", manifest.spec.get("forget", 0) + len(wanted)),
            parent=manifest.digest,
            realised_ratio=manifest.realised_ratio,
        )
        traits = Traits.model_validate(manifest.model_dump(include=set(Traits.model_fields)))
        new = write_snapshot(connection, work, home=home, traits=traits, origin=origin)
    return Forgotten(snapshot, new, len(wanted))


def ids_in(text: str, snapshot: Snapshot) -> list[str]:
    """The raw ids that a person means by `text`: one that has commas in it where there is such a user, else several
    between commas.
    """
    return [text] if _has_any(snapshot, [text]) else [part.strip() for part in text.split(",")]


def holders(text: str, *, home: Home) -> tuple[Snapshot, ...]:
    """The clean snapshots that have a user whom `text` names (see `ids_in`), the oldest first."""
    return tuple(snapshot for snapshot in _clean_ones(home) if _has_any(snapshot, ids_in(text, snapshot)))


def remains(snapshot: Snapshot, ids: Sequence[str], *, home: Home) -> Remains:
    """What still knows the users of `snapshot` with these raw ids."""
    # What writes reports takes its time to import, and nothing else of the shelf needs it.
    from tasks.audit.outcome import audited
    from tasks.kept import kept_steps
    from tasks.validate import log_docs_showing

    made_of_it = standing_on(snapshot.name, read_shelf(home))
    files_read = {file.sha256 for file in snapshot.manifest.sources}
    others = tuple(
        other
        for other in _clean_ones(home)
        if _has_any(other, ids)
        and other.digest != snapshot.digest
        and files_read & {file.sha256 for file in other.manifest.sources}
    )
    names = [snapshot.name, *(entry.name for entry in made_of_it)]
    with engine() as connection:
        files = [path for name in names for path in sorted(home.recommendations.glob(f"*-{name}/*.parquet"))]
        scored = tuple(path for path in files if _has_row(connection, path, ids))
        judged = audited(names, home=home)
        audits = tuple(path.parent for path in judged if _has_row(connection, path, ids))
    docs = log_docs_showing(ids, docs=home.docs)
    try:
        found = references(names, home=home)
    except InputError as error:
        return Remains(made_of_it, others, None, str(error), (), scored, audits, docs)
    runs = {run.run_id: run for each in found.values() for run in each.runs}
    models = {(model.name, model.version): model for each in found.values() for model in each.models}
    used = References(tuple(runs.values()), tuple(models.values()))
    kept = kept_steps((run.run_id for run in used.runs), home=home)
    return Remains(made_of_it, others, used, None, kept, scored, audits, docs)


def _clean_ones(home: Home) -> list[Snapshot]:
    """The snapshots without injected noise whose users can be asked for."""
    whole = [entry.snapshot for entry in read_shelf(home) if entry.snapshot and not entry.stands_on]
    return [snapshot for snapshot in whole if snapshot.users.is_file()]


def _has_any(snapshot: Snapshot, ids: Sequence[str]) -> bool:
    with engine() as connection:
        return bool(_known(connection, snapshot, ids))


def _refuse_unknown(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, ids: Sequence[str]) -> None:
    unknown = sorted(set(ids) - _known(connection, snapshot, ids))
    if unknown:
        query = sql.load("snapshots/nearest_users", users=sql.literal(str(snapshot.users)))
        nearest = ", ".join(repr(row[0]) for row in connection.execute(query, {"user": unknown[0]}).fetchall())
        raise InputError(f"the snapshot {snapshot.name} has no user {unknown[0]!r}: the nearest ids are {nearest}")


def _known(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, ids: Sequence[str]) -> set[str]:
    query = sql.load("forget/known", users=sql.literal(str(snapshot.users)))
    return {str(row[0]) for row in connection.execute(query, {"ids": list(ids)}).fetchall()}


def _leave_out(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, ids: Sequence[str]) -> None:
    """Make the snapshot's four tables without those users."""
    interactions = sql.literal(str(snapshot.interactions))
    connection.execute(sql.load("forget/users", users=sql.literal(str(snapshot.users))), {"ids": list(ids)})
    connection.execute(sql.load("forget/items", items=sql.literal(str(snapshot.items)), interactions=interactions))
    connection.execute(sql.load("forget/interactions", interactions=interactions))
    connection.execute(sql.load("forget/targets", targets=sql.literal(str(snapshot.targets))))


def _refuse_empty(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot) -> None:
    """Raise `InputError` where a part of the split would be empty."""
    training, validation, test = one_row(connection, sql.load("forget/split_sizes"))
    if not (training and validation and test):
        empty = "nobody to train on" if not training else "no target of " + ("test" if validation else "validation")
        raise InputError(
            f"without them the snapshot {snapshot.name} would have {empty}: "
            "ingest the log without them, with a split that fits those who are left"
        )


def _has_row(connection: duckdb.DuckDBPyConnection, path: Path, ids: Sequence[str]) -> bool:
    query = sql.load("forget/scored", file=sql.literal(str(path)))
    return one_row(connection, query, {"ids": list(ids)}) != (0,)
