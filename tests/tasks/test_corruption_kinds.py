"""What every kind of noise promises, on random small logs: in arrays, and in the snapshots written of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tasks.corrupt import corrupt
from tasks.corruption.apply import apply
from tasks.corruption.kinds import KINDS, plan
from tasks.corruption.openlog import NEVER, CannotCorruptError, OpenLog
from tasks.data_specs import CorruptSpec, NoiseKind
from tasks.engine import engine
from tasks.errors import InputError
from tasks.home import Home
from tasks.scratch import working_folder
from tasks.snapshots import Origin, Snapshot, Traits, write_snapshot

Event = tuple[int, int | None, str]

KIND_NAMES: tuple[NoiseKind, ...] = get_args(NoiseKind)
EXAMPLES = settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))
RATIOS = st.sampled_from([n / 40 for n in range(21)])

ITEM, TIME, LABEL = range(3)


@dataclass(frozen=True)
class View:
    """A log as lists. Each genuine event has a label of its own, so that it is known again.

    events: of each user (item, time, label); targets: of each user {history: split}
    """

    ids: list[str]
    events: list[list[Event]]
    train_lengths: list[int]
    targets: list[dict[int, str]]
    catalogue: int

    def open_length(self, user: int) -> int:
        return min(self.targets[user], default=len(self.events[user]))

    @property
    def open_events(self) -> int:
        return sum(self.open_length(user) for user in range(len(self.ids)))

    def forbidden(self, user: int) -> set[int]:
        return {self.events[user][history][ITEM] for history in self.targets[user]}


@st.composite
def logs(draw: st.DrawFn) -> View:
    """Logs with users that are ranked, never ranked, held out, or have open events behind the training part."""
    catalogue = draw(st.integers(25, 40))
    clock = draw(st.sampled_from(["none", "apart", "tied"]))
    integers = draw(st.booleans())
    events: list[list[Event]] = []
    train_lengths: list[int] = []
    targets: list[dict[int, str]] = []
    for user in range(draw(st.integers(1, 10))):
        items = draw(st.lists(st.integers(1, catalogue), min_size=1, max_size=12))
        gaps = {"none": st.none(), "apart": st.integers(1, 9_000_000_000), "tied": st.integers(0, 1_000_000)}[clock]
        elapsed = [draw(gaps) for _ in items]
        start = draw(st.integers(-5_000_000, 5_000_000_000))
        times = [None] * len(items) if clock == "none" else (start + np.cumsum(elapsed)).tolist()
        events.append([(item, time, f"{user}-{n}") for n, (item, time) in enumerate(zip(items, times, strict=True))])
        count = len(items)
        match draw(st.sampled_from(["leave-one-out", "unranked", "held-out", "silent", "temporal"])):
            case "leave-one-out" if count >= 3:
                train_lengths.append(count - 2)
                targets.append({count - 2: draw(st.sampled_from(["validation", "promotion"])), count - 1: "test"})
            case "held-out":
                train_lengths.append(0)
                first = draw(st.integers(0, count - 1))
                targets.append(dict.fromkeys(range(first, count), "test"))
            case "silent":
                train_lengths.append(0)
                targets.append({})
            case "temporal":
                first = draw(st.integers(0, count - 1))
                train_lengths.append(draw(st.integers(0, first)))
                targets.append({first: "validation"})
            case _:
                train_lengths.append(count)
                targets.append({})
    names = [5 * user - 3 for user in range(len(events))] if integers else range(len(events))
    ids = [str(name) if integers else f"bot-{name}" if name % 3 == 1 else f"{{ann}} {name}" for name in names]
    return View(ids, events, train_lengths, targets, catalogue)


def open_log(view: View) -> OpenLog:
    """The arrays of a log, made one event at a time."""
    users = range(len(view.ids))
    lengths = [view.open_length(user) for user in users]
    events = [event for user in users for event in view.events[user][: lengths[user]]]
    timed = any(event[TIME] is not None for user in users for event in view.events[user])
    following = [view.events[user][lengths[user] :][:1] for user in users]
    forbidden = [sorted(view.forbidden(user)) for user in users]
    return OpenLog(
        item=np.array([event[ITEM] for event in events], dtype=np.int32),
        time=np.array([event[TIME] for event in events], dtype=np.int64) if timed else None,
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        train_length=np.array(view.train_lengths, dtype=np.int64),
        next_time=np.array([n[0][TIME] if n and timed else NEVER for n in following], dtype=np.int64),
        forbidden_offsets=np.concatenate([[0], np.cumsum([len(f) for f in forbidden])]).astype(np.int64),
        forbidden_items=np.array([item for f in forbidden for item in f], dtype=np.int32),
        catalogue=view.catalogue,
    )


def noisy_view(view: View, kind: NoiseKind, *, ratio: float, seed: int) -> View:
    """The log with noise put into its arrays."""
    log = open_log(view)
    edited = apply(log, plan(log, kind, ratio=ratio, seed=seed).edits)
    labels = [event[LABEL] for u in range(len(view.ids)) for event in view.events[u][: view.open_length(u)]]
    people = len(edited.train_length)
    events: list[list[Event]] = [[] for _ in range(people)]
    times = [None] * len(edited.user) if edited.time is None else edited.time.tolist()
    for user, item, time, source, touched in zip(
        edited.user, edited.item, times, edited.source, edited.touched, strict=True
    ):
        events[user].append((int(item), time, kind if touched else labels[source]))
    targets: list[dict[int, str]] = [{} for _ in range(people)]
    for user, own in enumerate(view.targets):
        events[user] += view.events[user][view.open_length(user) :]
        targets[user] = {history + int(edited.growth[user]): split for history, split in own.items()}
    new = [f"new {n}" for n in range(people - len(view.ids))]
    return View([*view.ids, *new], events, edited.train_length.tolist(), targets, view.catalogue)


def check(clean: View, noisy: View, kind: NoiseKind, *, ratio: float) -> None:
    """Everything that a kind of noise promises, but for what links two ratios."""
    total, known = clean.open_events, range(len(clean.ids))
    for user in range(len(noisy.ids)):
        times = [event[TIME] for event in noisy.events[user]]
        assert times == sorted(times, key=lambda time: time or 0), "times run backwards"
    for user in known:
        first, moved = clean.open_length(user), noisy.open_length(user)
        assert noisy.events[user][moved:] == clean.events[user][first:], "a target or what follows it is touched"
        assert list(noisy.targets[user].values()) == list(clean.targets[user].values())
        assert [h - moved for h in noisy.targets[user]] == [h - first for h in clean.targets[user]]
    noise = [(u, p) for u in range(len(noisy.ids)) for p, e in enumerate(noisy.events[u]) if e[LABEL] == kind]
    gone = total - sum(e[LABEL] != kind for u in known for e in noisy.events[u][: noisy.open_length(u)])
    amount = {"delete": gone}.get(kind, len(noise))
    if kind in ("insert", "burst", "sharing", "bots"):
        assert abs(amount - ratio / (1 - ratio) * total) <= 0.5 + 1e-9
    else:
        assert abs(amount - ratio * total) <= (1 if kind == "swap" else 0.5) + 1e-9
    assert len(noisy.ids) == len(clean.ids) or kind == "bots"
    for user in known:
        CHECKS[kind](clean, noisy, user)
    if kind == "bots":
        check_bots(clean, noisy)


def check_replaced(clean: View, noisy: View, user: int) -> None:
    assert noisy.train_lengths[user] == clean.train_lengths[user]
    for before, after in zip(clean.events[user], noisy.events[user], strict=True):
        assert before[TIME] == after[TIME]
        if after[LABEL] in ("replace", "popular"):
            assert after[ITEM] not in {before[ITEM], *clean.forbidden(user)}
            assert 1 <= after[ITEM] <= clean.catalogue
            assert after[LABEL] == "replace" or after[ITEM] in trained_items(clean)
        else:
            assert before == after


def trained_items(view: View) -> set[int]:
    return {e[ITEM] for own, trained in zip(view.events, view.train_lengths, strict=True) for e in own[:trained]}


def check_inserted(clean: View, noisy: View, user: int) -> None:
    kinds = ("insert", "burst", "sharing")
    assert [event for event in noisy.events[user] if event[LABEL] not in kinds] == clean.events[user]
    genuine, counted = 0, 0
    trained = clean.train_lengths[user]
    others = [
        (other, place, event)
        for other in range(len(clean.ids))
        for place, event in enumerate(clean.events[other][: clean.open_length(other)])
        if other != user
    ]
    for event in noisy.events[user]:
        if event[LABEL] not in kinds:
            genuine += 1
            continue
        trains = max(genuine - 1, 0) < trained
        counted += trains
        assert 1 <= event[ITEM] <= clean.catalogue
        assert event[ITEM] not in clean.forbidden(user)
        assert event[LABEL] == "sharing" or genuine > 0
        if event[LABEL] == "sharing":
            assert any(
                event[:2] == theirs[:2] and (place < clean.train_lengths[other] or not trains)
                for other, place, theirs in others
            )
        if trains and event[TIME] is not None:
            assert event[TIME] <= last_trained(clean)
    assert noisy.train_lengths[user] == trained + counted


def last_trained(view: View) -> int:
    people = zip(view.events, view.train_lengths, strict=True)
    return max(event[TIME] or 0 for own, trained in people for event in own[:trained])


def check_deleted(clean: View, noisy: View, user: int) -> None:
    kept = {event[LABEL] for event in noisy.events[user]}
    assert noisy.events[user] == [event for event in clean.events[user] if event[LABEL] in kept]
    assert noisy.open_length(user) > 0 or clean.open_length(user) == 0
    trained = [event for event in clean.events[user][: clean.train_lengths[user]] if event[LABEL] in kept]
    assert noisy.events[user][: noisy.train_lengths[user]] == trained


def check_swapped(clean: View, noisy: View, user: int) -> None:
    before, after, trained = clean.events[user], noisy.events[user], clean.train_lengths[user]
    assert noisy.train_lengths[user] == trained
    assert [event[TIME] for event in before] == [event[TIME] for event in after]
    place = 0
    while place < len(after):
        if after[place][LABEL] != "swap":
            assert after[place] == before[place]
            place += 1
            continue
        assert after[place + 1][LABEL] == "swap"
        assert (after[place][ITEM], after[place + 1][ITEM]) == (before[place + 1][ITEM], before[place][ITEM])
        assert after[place][ITEM] != before[place][ITEM]
        assert place + 1 != trained, "an item crosses into the training part"
        place += 2


def check_untouched(clean: View, noisy: View, user: int) -> None:
    assert noisy.events[user] == clean.events[user]
    assert noisy.train_lengths[user] == clean.train_lengths[user]


def check_bots(clean: View, noisy: View) -> None:
    assert len(set(noisy.ids)) == len(noisy.ids)
    times = [event[TIME] for user in range(len(clean.ids)) for event in clean.events[user] if event[TIME] is not None]
    for bot in range(len(clean.ids), len(noisy.ids)):
        events = noisy.events[bot]
        assert noisy.train_lengths[bot] == len(events) > 0
        assert not noisy.targets[bot]
        assert {event[LABEL] for event in events} == {"bots"}
        assert len({event[ITEM] for event in events}) <= 5
        assert all(1 <= event[ITEM] <= clean.catalogue for event in events)
        assert all(event[TIME] is None or min(times) <= event[TIME] <= max(times) for event in events)
        assert all((event[TIME] is None) == (not times) for event in events)


CHECKS = {
    "replace": check_replaced,
    "popular": check_replaced,
    "insert": check_inserted,
    "burst": check_inserted,
    "sharing": check_inserted,
    "delete": check_deleted,
    "swap": check_swapped,
    "bots": check_untouched,
}


def check_nested(smaller: View, larger: View, kind: NoiseKind) -> None:
    """What is noise at the smaller ratio is the same noise, in the same places, at the larger one."""
    for user in range(len(smaller.ids)):
        less, more = smaller.events[user], larger.events[user]
        if kind == "delete":
            assert {event[LABEL] for event in more} <= {event[LABEL] for event in less}
        elif kind in ("replace", "popular", "swap"):
            noise = {(place, event) for place, event in enumerate(less) if event[LABEL] == kind}
            assert noise <= set(enumerate(more))
        elif kind == "bots":
            assert more[: len(less)] == less
        else:
            rest = iter(more)
            assert all(event in rest for event in less), "an event is gone or stands in another place"


def or_discard(view: View, kind: NoiseKind, *, ratio: float, seed: int) -> View:
    """The log with noise; the example is thrown away where the log does not admit it."""
    try:
        return noisy_view(view, kind, ratio=ratio, seed=seed)
    except CannotCorruptError:
        assume(False)
        raise


@pytest.mark.parametrize("kind", KIND_NAMES)
@EXAMPLES
@given(view=logs(), ratios=st.tuples(RATIOS, RATIOS), seed=st.integers(0, 2**31 - 1))
def test_a_kind_keeps_its_promises(kind: NoiseKind, view: View, ratios: tuple[float, float], seed: int) -> None:
    smaller, larger = (or_discard(view, kind, ratio=ratio, seed=seed) for ratio in sorted(ratios))
    check(view, smaller, kind, ratio=min(ratios))
    check(view, larger, kind, ratio=max(ratios))
    check_nested(smaller, larger, kind)
    assert larger == noisy_view(view, kind, ratio=max(ratios), seed=seed)


@pytest.mark.parametrize("clock", ["times", "no times"])
@pytest.mark.parametrize("kind", KIND_NAMES)
def test_a_crowded_log_keeps_the_promises_for_every_seed(kind: NoiseKind, clock: str) -> None:
    """Histories of 14 in which much is inserted into one place, swapped across borders and shared at one time."""
    ranked = [{12: "validation", 13: "test"}, {}, dict.fromkeys(range(8, 14), "test"), {}, {9: "validation"}]
    events = [
        [
            (1 + (5 * user + 3 * n) % 25, 10_000_000 * (n + user % 4) if clock == "times" else None, f"{user}-{n}")
            for n in range(14)
        ]
        for user in range(20)
    ]
    people = [user % 5 for user in range(20)]
    view = View(
        [f"u{user:02}" for user in range(20)],
        events,
        [[12, 14, 0, 0, 5][sort] for sort in people],
        [ranked[sort] for sort in people],
        25,
    )
    for seed in range(25):
        larger = noisy_view(view, kind, ratio=0.4, seed=seed)
        smaller = noisy_view(view, kind, ratio=0.25, seed=seed)
        check(view, larger, kind, ratio=0.4)
        check_nested(smaller, larger, kind)


def test_every_kind_that_may_be_asked_for_is_there() -> None:
    assert set(KINDS) == set(KIND_NAMES)


@EXAMPLES
@given(view=logs(), ratio=RATIOS)
def test_deleting_fails_only_where_every_user_would_have_to_lose_the_last_one(view: View, ratio: float) -> None:
    log = open_log(view)
    spare = sum(max(view.open_length(user) - 1, 0) for user in range(len(view.ids)))
    if round(ratio * view.open_events) <= spare:
        plan(log, "delete", ratio=ratio, seed=0)
    else:
        with pytest.raises(CannotCorruptError, match=f"only {spare} of the {view.open_events} open events"):
            plan(log, "delete", ratio=ratio, seed=0)


# --- the same in files ------------------------------------------------------------------------------------


def written(view: View, home: Home) -> Snapshot:
    """The log as a clean snapshot."""
    users = range(len(view.ids))
    rows = [(user, *event, place) for user in users for place, event in enumerate(view.events[user])]
    order = {"validation": 0, "promotion": 1, "test": 2}
    targets = sorted((order[s], user, history, s) for user in users for history, s in view.targets[user].items())
    tables: dict[str, dict[str, Sequence[Any]]] = {
        "interactions": {
            "user": [row[0] for row in rows],
            "item": [row[1] for row in rows],
            "time": pa.array([row[2] for row in rows], pa.int64()),
            "position": [row[4] for row in rows],
            "noise_kind": [row[3] for row in rows],
        },
        "targets": {
            "target": pa.array(range(len(targets)), pa.int64()),
            "user": pa.array([user for _, user, _, _ in targets], pa.int64()),
            "item": pa.array([view.events[user][history][ITEM] for _, user, history, _ in targets], pa.int64()),
            "split": pa.array([split for *_, split in targets], pa.string()),
            "history": pa.array([history for _, _, history, _ in targets], pa.int64()),
        },
        "users": {"user": list(users), "user_id": view.ids, "train_length": view.train_lengths},
        "items": {
            "item": list(range(1, view.catalogue + 1)),
            "item_id": [f"i{n:03}" for n in range(1, view.catalogue + 1)],
        },
    }
    traits = Traits(
        labelled=True,
        user_id_type="integer" if all(name.lstrip("-").isdigit() for name in view.ids) else "string",
        item_id_type="string",
        has_times=any(row[2] is not None for row in rows),
    )
    with working_folder(home.snapshots) as work, engine(work / "spill") as connection:
        for name, columns in tables.items():
            connection.register(name, pa.table(columns))
        return write_snapshot(connection, work, home=home, traits=traits, origin=Origin(sources=(), spec={}))


def read(snapshot: Snapshot) -> View:
    """The log that a snapshot's files hold; what they say twice must agree."""

    def rows(path: Path) -> list[tuple[Any, ...]]:
        return duckdb.sql(f"SELECT * FROM read_parquet('{path}')").fetchall()

    users = rows(snapshot.users)
    assert [user for user, _, _ in users] == list(range(len(users)))
    interactions = rows(snapshot.interactions)
    events = [[] for _ in users]
    for user, own in groupby(interactions, key=lambda row: row[0]):
        events[user] = [(item, time, label) for _, item, time, _, label in own]
    assert [(row[0], row[3]) for row in interactions] == [
        (u, p) for u in range(len(users)) for p in range(len(events[u]))
    ]
    targets: list[dict[int, str]] = [{} for _ in users]
    for n, (target, user, item, split, history) in enumerate(rows(snapshot.targets)):
        assert target == n
        assert events[user][history][ITEM] == item
        targets[user][history] = split
    targets = [dict(sorted(own.items())) for own in targets]
    return View([row[1] for row in users], events, [row[2] for row in users], targets, len(rows(snapshot.items)))


@settings(EXAMPLES, max_examples=12)
@given(view=logs(), kind=st.sampled_from(KIND_NAMES), ratio=RATIOS, seed=st.integers(0, 3))
def test_the_snapshot_holds_what_the_arrays_say(view: View, kind: NoiseKind, ratio: float, seed: int) -> None:
    expected = or_discard(view, kind, ratio=ratio, seed=seed)
    with TemporaryDirectory() as folder:
        home = Home(Path(folder))
        clean = written(view, home)
        assert read(clean) == view
        snapshot = corrupt(clean, CorruptSpec(kind=kind, ratio=ratio, seed=seed), home=home)
        noisy = read(snapshot)
    if snapshot is clean:
        assert expected == view
        return
    check(view, noisy, kind, ratio=ratio)
    assert noisy.ids[: len(view.ids)] == view.ids
    assert replace(noisy, ids=[]) == replace(expected, ids=[])
    counts, changes = snapshot.counts, snapshot.manifest.changes
    labels = [[event[LABEL] == kind for event in own] for own in noisy.events]
    assert counts.training == sum(noisy.train_lengths)
    assert counts.interactions == sum(map(len, noisy.events))
    assert changes is not None
    touched = sum(map(sum, labels))
    assert changes.model_dump() == {
        "replaced": touched if kind in ("replace", "popular") else 0,
        "inserted": touched if kind in ("insert", "burst", "sharing", "bots") else 0,
        "deleted": sum(map(len, view.events)) - sum(map(len, noisy.events)) if kind == "delete" else 0,
        "moved": touched if kind == "swap" else 0,
        "users_added": len(noisy.ids) - len(view.ids),
    }
    assert snapshot.manifest.realised_ratio is not None
    assert abs(snapshot.manifest.realised_ratio * view.open_events - ratio * view.open_events) <= 1 + 1e-9
    if snapshot.manifest.user_id_type == "integer":
        assert [int(name) for name in noisy.ids] == sorted(int(name) for name in noisy.ids)
        assert all(int(name) < 2**63 for name in noisy.ids)


def one_user(items: Sequence[int], *, name: str = "ann", ranked: int = 2, catalogue: int = 10, others: int = 0) -> View:
    """A user who is ranked on the last ones, and others who did the same."""
    count = len(items)
    histories = range(count - ranked, count)
    targets = {history: "test" if history == count - 1 else "validation" for history in histories}
    events = [(item, 1_000_000 * n, f"0-{n}") for n, item in enumerate(items)]
    people = 1 + others
    names = [name, *(f"{name} {n}" for n in range(others))]
    return View(names, [events] * people, [count - ranked] * people, [targets] * people, catalogue)


@pytest.mark.parametrize(
    ("kind", "view", "message"),
    [
        ("replace", one_user([1, 1, 2, 3], catalogue=3), "3 items leaves nothing to replace an item of user ann with"),
        ("popular", one_user([1, 1, 2, 3]), "leaves nothing to replace an item of user ann with"),
        ("insert", one_user([1, 1, 1, 2, 3], ranked=3, catalogue=3), "insert into the history of user ann"),
        ("burst", one_user([1, 1, 1, 2, 3], ranked=3, catalogue=3), "insert into the history of user ann"),
        (
            "delete",
            one_user([1, 2, 3], others=1),
            "only 0 of the 2 open events can be deleted .*user ann has no other",
        ),
        ("swap", one_user([1, 1, 1, 1, 2, 3]), r"another item, where 2 are asked for \(user ann has no such pair\)"),
        ("sharing", one_user([1, 2, 4, 5]), "the 1 users with open events have only 0 of the 2 events"),
        ("bots", one_user([1, 2, 4, 5], name=str(2**63 - 1)), "no 64-bit integers are left behind .* for 1 bots"),
    ],
)
def test_what_cannot_be_done_is_said_with_what_to_do(kind: NoiseKind, view: View, message: str, home: Home) -> None:
    clean = written(view, home)
    with pytest.raises(InputError, match=f"{message}.*: (take|ingest) "):
        corrupt(clean, CorruptSpec(kind=kind, ratio=0.5), home=home)
    assert list(home.snapshots.iterdir()) == [clean.path]


def test_bots_get_ids_of_the_logs_type_that_nobody_has(home: Home) -> None:
    items = [1, 2, 3] * 100
    named = {"41": ["42"], "ann": ["bot-000001"], "bot-9": ["bot-000010"], "bot-x": ["bot-000001"], "007": ["8"]}
    for name, expected in named.items():
        clean = written(one_user(items, name=name), home)
        noisy = corrupt(clean, CorruptSpec(kind="bots", ratio=0.1), home=home)
        assert read(noisy).ids == [name, *expected]


def test_a_log_without_labels_gets_some(home: Home) -> None:
    view = one_user([1, 2, 4, 5, 6, 7, 8, 9])
    unlabelled = replace(view, events=[[(item, time, None) for item, time, _ in view.events[0]]])
    noisy = read(corrupt(written(unlabelled, home), CorruptSpec(kind="insert", ratio=0.4), home=home))
    assert Counter(event[LABEL] for event in noisy.events[0]) == {None: 8, "insert": 4}
