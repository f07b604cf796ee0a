"""What two snapshots say differently, by raw ids, so that it makes no difference how each numbers them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

import sql
from tasks.dotted import differing
from tasks.engine import engine, one_row
from tasks.home import Home
from tasks.scratch import working_folder
from tasks.snapshots import Snapshot, snapshot_name
from tasks.wording import counted

CHANGES = ("removed", "added", "replaced", "moved", "relabelled")
FEW = 5


@dataclass(frozen=True)
class OnlyInOne:
    """Raw ids that only one of the snapshots has: how many, and the first few."""

    only_a: int
    first_a: tuple[str, ...]
    only_b: int
    first_b: tuple[str, ...]


@dataclass(frozen=True)
class Example:
    """One changed event in raw ids; an item is None where the snapshot has no such event."""

    user: str
    item_a: str | None
    item_b: str | None
    position: int
    noise_a: str | None
    noise_b: str | None


@dataclass(frozen=True)
class Changed:
    """Events that are changed in one way (see `sql/diff/changes.sql`), of how many users, and the first few."""

    events: int
    users: int
    first: tuple[Example, ...]


@dataclass(frozen=True)
class Targets:
    """Targets only in one snapshot or in both; of the latter those whose history or number differs."""

    only_a: int
    only_b: int
    in_both: int
    longer: int
    shorter: int
    renumbered: int


@dataclass(frozen=True)
class Difference:
    """`lineage`: how B comes from A, in a sentence. `spec`: field → its value in A and in B, where they differ.
    `counts`: table → rows in A and in B. `changes`: by name, those that there are. `labels`: kind → events in each.
    """

    lineage: str
    spec: Mapping[str, tuple[Any, Any]]
    counts: Mapping[str, tuple[int, int]]
    users: OnlyInOne
    items: OnlyInOne
    changes: Mapping[str, Changed]
    targets: Targets
    labels: Mapping[str, tuple[int, int]]


def diff(a: Snapshot, b: Snapshot, *, home: Home) -> Difference:
    """Compare two snapshots. Times count only where both have them."""
    with working_folder(home.snapshots) as work, engine(work / "spill") as connection:
        _load(connection, a, b)
        return Difference(
            lineage=lineage(a, b),
            spec=differing(_facts(a), _facts(b)),
            counts=_side_by_side(a.counts.model_dump(), b.counts.model_dump()),
            users=_only_in_one(connection, "user_codes"),
            items=_only_in_one(connection, "item_codes"),
            changes=_changes(connection),
            targets=_targets(connection, a, b),
            labels=_side_by_side(_labels(connection, a), _labels(connection, b)),
        )


def lineage(a: Snapshot, b: Snapshot) -> str:
    """How `b` comes from `a`, in a sentence."""
    if a.digest == b.digest:
        return "A and B are the same snapshot."
    if b.manifest.parent == a.digest:
        return f"B is A {made_by(b, a)}."
    if a.manifest.parent == b.digest:
        return f"A is B {made_by(a, b)}."
    if a.manifest.clean == b.manifest.clean:
        clean = snapshot_name(a.manifest.clean)
        return f"Both were made from {clean}: A is it {made_by(a, None)}, B is it {made_by(b, None)}."
    if [file.sha256 for file in a.manifest.sources] == [file.sha256 for file in b.manifest.sources]:
        return "Both were made from the same files, differently."
    return "They were made from different files."


def made_by(snapshot: Snapshot, parent: Snapshot | None) -> str:
    """What was done to a snapshot's parent: "with 20 % replace (seed 3)", "without 1 user", "without 12 interactions
    (co-occurrence, below 0.5)"; "" where it has none.

    parent: None where it is not at hand; the users are then all that were ever forgotten of the log.
    """
    spec, changes = snapshot.manifest.spec, snapshot.manifest.changes
    if snapshot.manifest.parent is None:
        return ""
    change = snapshot.manifest.last_change
    if change == "filter":
        settings, gone = spec["filter"], changes.deleted if changes else 0
        events = counted(gone, "interaction")
        return f"without {events} ({settings['by']}, below {settings['below']:g})"
    if change == "corrupt":
        noise = spec["corrupt"]
        kind = f"{100 * noise.get('ratio', 0):g} % {noise.get('kind', 'replace')} (seed {noise.get('seed', 0)})"
        return f"with {kind}, taken out again" if noise.get("taken_out") else f"with {kind}"
    if change == "forget":
        forgotten = spec["forget"] if parent is None else parent.counts.users - snapshot.counts.users
        return f"without {counted(forgotten, 'user')}"
    return "changed"


def _load(connection: duckdb.DuckDBPyConnection, a: Snapshot, b: Snapshot) -> None:
    """Make the tables `user_codes`, `item_codes`, `events_a`, `events_b` and `changes`."""
    for codes, index, path_a, path_b in (
        ("user_codes", "user", a.users, b.users),
        ("item_codes", "item", a.items, b.items),
    ):
        names = {"codes": codes, "index": sql.quoted(index), "id": f"{index}_id"}
        query = sql.load("diff/codes", a=sql.literal(str(path_a)), b=sql.literal(str(path_b)), **names)
        connection.execute(query)
    interactions_a, interactions_b = sql.literal(str(a.interactions)), sql.literal(str(b.interactions))
    connection.execute(sql.load("diff/alike", a=interactions_a, b=interactions_b))
    with_times = a.manifest.has_times and b.manifest.has_times
    for events, side, interactions in (("events_a", "in_a", interactions_a), ("events_b", "in_b", interactions_b)):
        query = sql.load("diff/events", events=events, side=side, interactions=interactions)
        connection.execute(query, {"with_times": with_times})
    connection.execute(sql.load("diff/changes"), {"with_times": with_times})
    connection.execute("DROP TABLE events_a; DROP TABLE events_b")


def _only_in_one(connection: duckdb.DuckDBPyConnection, codes: str) -> OnlyInOne:
    only_a, first_a, only_b, first_b = one_row(connection, sql.load("diff/only_in_one", codes=codes), {"few": FEW})
    return OnlyInOne(only_a, tuple(first_a), only_b, tuple(first_b))


def _changes(connection: duckdb.DuckDBPyConnection) -> dict[str, Changed]:
    counted = {change: (events, users) for change, events, users in connection.sql(sql.load("diff/counts")).fetchall()}
    return {change: _changed(connection, change, *counted[change]) for change in CHANGES if change in counted}


def _changed(connection: duckdb.DuckDBPyConnection, change: str, events: int, users: int) -> Changed:
    rows = connection.execute(sql.load("diff/examples"), {"change": change, "few": FEW}).fetchall()
    return Changed(events, users, tuple(Example(*row) for row in rows))


def _targets(connection: duckdb.DuckDBPyConnection, a: Snapshot, b: Snapshot) -> Targets:
    query = sql.load("diff/targets", a=sql.literal(str(a.targets)), b=sql.literal(str(b.targets)))
    return Targets(*one_row(connection, query))


def _labels(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot) -> dict[str, int]:
    query = sql.load("diff/labels", interactions=sql.literal(str(snapshot.interactions)))
    return dict(connection.execute(query).fetchall())


def _side_by_side(a: Mapping[str, int], b: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    return {name: (a.get(name, 0), b.get(name, 0)) for name in dict.fromkeys((*a, *b))}


def _facts(snapshot: Snapshot) -> dict[str, Any]:
    """What was asked for and what came in."""
    manifest = snapshot.manifest
    sources = {
        f"file {number}": f"{file.name}, {file.sha256[:12]}…" for number, file in enumerate(manifest.sources, start=1)
    }
    traits = {name: getattr(manifest, name) for name in ("labelled", "user_id_type", "item_id_type", "has_times")}
    return {**sources, **traits, **manifest.spec}
