"""Every way to prepare and split a log says what a plain reading of its description says, and leaks nothing."""

import csv
import hashlib
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.data_specs import (
    Columns,
    LeaveOneOut,
    PrepareSpec,
    SessionSplit,
    SourceSpec,
    Split,
    TemporalSplit,
    UserSplit,
)
from tasks.errors import InputError
from tasks.home import Home
from tasks.ingest import ingest
from tasks.snapshots import Snapshot
from tasks.sources.logs import log_of
from tasks.splits import refuse_unranked

QUICK = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
THOROUGH = settings(QUICK, max_examples=150)
COLUMNS = Columns(user="user", item="item", time="time", order="order", rating="rating")


@dataclass(frozen=True)
class Event:
    user: str
    item: str
    time: int
    order: int
    rating: int
    row: int = 0

    @property
    def place(self) -> tuple[int, int, int]:
        return self.time, self.order, self.row


# The reference: events in lists, one rule after the other


Target = tuple[str, str, str, int]


@dataclass(frozen=True)
class Prepared:
    """Raw user id -> events; -> how many may be trained on; targets as (split, user, item, history) in their order."""

    events: dict[str, list[Event]]
    train_lengths: dict[str, int]
    targets: list[Target]


def reference(log: list[Event], prepare: PrepareSpec) -> Prepared | None:
    """What a snapshot should say; None where the log should be refused."""
    events = sorted((event for event in log if prepare.min_rating is None or event.rating >= prepare.min_rating),
                    key=lambda event: event.place)  # fmt: skip
    user_core, item_core = prepare.user_core, prepare.item_core
    while events != (left := core(without_duplicates(events, prepare.duplicates), user_core, item_core)):
        events = left
    of_user: dict[str, list[Event]] = {user: [] for user in sorted({event.user for event in events})}
    for event in events:
        of_user[event.user].append(event)
    found = windows(of_user, prepare)
    if not events or found is None:
        return None
    train_lengths, validation, test = found
    drawn = {user for user in validation if validation[user] and draw(prepare, "promotion", user) < prepare.promotion}
    if drawn == {user for user in validation if validation[user]}:
        drawn = set()
    parts: list[tuple[str, dict[str, list[int]]]] = [
        ("validation", {user: where for user, where in validation.items() if user not in drawn}),
        ("promotion", {user: where for user, where in validation.items() if user in drawn}),
        ("test", test),
    ]
    targets = [
        (split, user, of_user[user][position].item, position)
        for split, positions in parts
        for user in of_user
        for position in positions.get(user, [])
    ]
    empty = not sum(train_lengths.values()) or not any(validation.values()) or not any(test.values())
    return None if empty else Prepared(of_user, train_lengths, targets)


def without_duplicates(events: list[Event], policy: str) -> list[Event]:
    if policy == "keep":
        return events
    if policy == "last":
        return without_duplicates(events[::-1], "first")[::-1]
    seen: set[Any] = set()
    last: dict[str, str] = {}
    kept = []
    for event in events:
        same = (event.user, event.item, event.time if policy == "exact" else None)
        repeats = last.get(event.user) == event.item if policy == "consecutive" else same in seen
        seen.add(same)
        last[event.user] = event.item
        if not repeats:
            kept.append(event)
    return kept


def core(events: list[Event], user_core: int, item_core: int) -> list[Event]:
    while True:
        users, items = Counter(event.user for event in events), Counter(event.item for event in events)
        kept = [event for event in events if users[event.user] >= user_core and items[event.item] >= item_core]
        if kept == events:
            return kept
        events = kept


Positions = dict[str, list[int]]


def windows(
    of_user: dict[str, list[Event]], prepare: PrepareSpec
) -> tuple[dict[str, int], Positions, Positions] | None:
    """Train lengths, and the positions that are targets of validation and of test; None where no moment parts them."""
    split = prepare.split
    counts = {user: len(events) for user, events in of_user.items()}
    if isinstance(split, LeaveOneOut):
        ranked = [user for user in counts if counts[user] >= split.min_events]
        train = {user: counts[user] - 2 if user in ranked else counts[user] for user in counts}
        return train, {user: [counts[user] - 2] for user in ranked}, {user: [counts[user] - 1] for user in ranked}
    if isinstance(split, TemporalSplit):
        times = sorted((event.time for events in of_user.values() for event in events), reverse=True)
        n_test, n_validation = whole(split.test, len(times)), whole(split.validation, len(times))
        if not n_test or not n_validation:
            return None
        second, first = times[n_test - 1], times[n_test + n_validation - 1]
        train = {user: sum(event.time < first for event in events) for user, events in of_user.items()}
        between, after = ({}, {})  # type: tuple[Positions, Positions]
        for user, events in of_user.items():
            later = [position for position, event in enumerate(events) if position and event.time >= first]
            between[user] = chosen([p for p in later if events[p].time < second], split.targets)
            after[user] = chosen([p for p in later if events[p].time >= second], split.targets)
        return train, between, after
    if isinstance(split, SessionSplit):
        users = sorted(of_user, key=lambda user: of_user[user][0].place)
        n_test, n_validation = whole(split.test, len(users)), whole(split.validation, len(users))
        rest = len(users) - n_test
        tested, validated, which = set(users[rest:]), set(users[rest - n_validation : rest]), "every"
    else:
        draws = {user: draw(prepare, "held-out", user) for user in of_user}
        tested = {user for user in of_user if draws[user] < split.test}
        validated = {user for user in of_user if split.test <= draws[user] < split.test + split.validation}
        which = split.targets
    train = {user: 0 if user in tested | validated else count for user, count in counts.items()}
    return (
        train,
        {user: chosen(list(range(1, counts[user])), which) for user in validated},
        {user: chosen(list(range(1, counts[user])), which) for user in tested},
    )


def chosen(positions: list[int], which: str) -> list[int]:
    return {"first": positions[:1], "last": positions[-1:], "every": positions}[which]


def whole(share: float, count: int) -> int:
    return int(Fraction(str(share)) * count)


def draw(prepare: PrepareSpec, purpose: str, user: str) -> float:
    return float(int(hashlib.md5(f"{prepare.seed}:{purpose}:{user}".encode()).hexdigest()[:13], 16) / 2**52)


# Logs and requests


def logs(least: int = 1, most: int = 40) -> st.SearchStrategy[list[Event]]:
    """Few users, items and times, so that they repeat."""
    event = st.builds(
        Event,
        user=st.sampled_from(["a", "b", "c", "é", "10", "9", "u,7", "h"]),
        item=st.integers(1, 6).map(str),
        time=st.integers(0, 9),
        order=st.integers(0, 2),
        rating=st.integers(1, 5),
    )
    return st.lists(event, min_size=least, max_size=most).map(
        lambda events: [Event(**{**vars(event), "row": row}) for row, event in enumerate(events)]
    )


SHARES = st.sampled_from([0.1, 0.2, 0.29, 0.3, 0.4])
SPLITS: dict[str, st.SearchStrategy[Split]] = {
    "leave-one-out": st.builds(LeaveOneOut, min_events=st.integers(3, 5)),
    "sessions": st.builds(SessionSplit, validation=SHARES, test=SHARES),
    "temporal": st.builds(
        TemporalSplit, validation=SHARES, test=SHARES, targets=st.sampled_from(["first", "last", "every"])
    ),
    "users": st.builds(UserSplit, validation=SHARES, test=SHARES, targets=st.sampled_from(["last", "every"])),
}


def requests(split: st.SearchStrategy[Split]) -> st.SearchStrategy[PrepareSpec]:
    return st.builds(
        PrepareSpec,
        min_rating=st.sampled_from([None, None, 2, 2.5]),
        duplicates=st.sampled_from(["keep", "keep", "exact", "consecutive", "first", "last"]),
        user_core=st.integers(0, 3),
        item_core=st.integers(0, 3),
        split=split,
        promotion=st.sampled_from([0.0, 0.2, 0.5]),
        seed=st.integers(0, 5),
    )


@contextmanager
def prepared(log: list[Event], prepare: PrepareSpec) -> Iterator[Snapshot]:
    """The snapshot of a log in a file of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["user", "item", "time", "order", "rating"])
            writer.writerows([event.user, event.item, event.time, event.order, event.rating] for event in log)
        source = SourceSpec(path=str(path), columns=COLUMNS)
        yield ingest(log_of(source, path), prepare, home=Home(Path(folder) / "home"))


def said(snapshot: Snapshot) -> Prepared:
    """What a snapshot says, in raw ids."""
    users = dict(duckdb.sql(f"SELECT \"user\", user_id FROM '{snapshot.users}'").fetchall())
    items = dict(duckdb.sql(f"SELECT * FROM '{snapshot.items}'").fetchall())
    events: dict[str, list[Event]] = {user: [] for user in users.values()}
    for user, item, time, position, _ in duckdb.sql(f"FROM '{snapshot.interactions}'").fetchall():
        assert position == len(events[users[user]])
        events[users[user]].append(Event(users[user], items[item], time // 1_000_000, 0, 0))
    train_lengths = dict(duckdb.sql(f"SELECT user_id, train_length FROM '{snapshot.users}'").fetchall())
    rows = duckdb.sql(f"FROM '{snapshot.targets}'").fetchall()
    assert [row[0] for row in rows] == list(range(len(rows)))
    targets = [(split, users[user], items[item], history) for _, user, item, split, history in rows]
    return Prepared(events, train_lengths, targets)


def plain(events: dict[str, list[Event]]) -> dict[str, list[tuple[str, int]]]:
    return {user: [(event.item, event.time) for event in of_user] for user, of_user in events.items()}


# What is prepared


@pytest.mark.parametrize("effort", [QUICK, pytest.param(THOROUGH, marks=pytest.mark.slow)], ids=["quick", "thorough"])
@pytest.mark.parametrize("kind", list(SPLITS))
def test_a_split_is_what_its_description_says(kind: str, effort: settings) -> None:
    @effort
    @given(log=logs(), prepare=requests(SPLITS[kind]))
    def check(log: list[Event], prepare: PrepareSpec) -> None:
        expected = reference(log, prepare)
        if expected is None:
            with pytest.raises(InputError) as refusal, prepared(log, prepare) as snapshot:
                refuse_unranked(snapshot)
            assert "\n" not in str(refusal.value)
            return
        with prepared(log, prepare) as snapshot:
            found = said(snapshot)
            assert plain(found.events) == plain(expected.events)
            assert found.train_lengths == expected.train_lengths
            assert found.targets == expected.targets
            counts = snapshot.counts
            by_split = Counter(split for split, *_ in expected.targets)
            assert counts.targets_validation == by_split["validation"]
            assert counts.targets_promotion == by_split["promotion"]
            assert counts.targets_test == by_split["test"]
            assert counts.training == sum(expected.train_lengths.values())
            assert snapshot.manifest.spec["prepare"] == prepare.model_dump(mode="json")

    check()


# What must not leak, said of the snapshot alone


@pytest.mark.parametrize("kind", list(SPLITS))
def test_no_target_is_trained_on_and_every_one_has_a_history(kind: str) -> None:
    @QUICK
    @given(log=logs(least=15, most=60), split=SPLITS[kind])
    def check(log: list[Event], split: Split) -> None:
        prepare = PrepareSpec(split=split)
        if reference(log, prepare) is None:
            return
        with prepared(log, prepare) as snapshot:
            found = said(snapshot)
        for _, user, item, history in found.targets:
            assert max(1, found.train_lengths[user]) <= history
            assert found.events[user][history].item == item
        if isinstance(split, TemporalSplit):
            in_time(found)
        if isinstance(split, SessionSplit | UserSplit):
            ranked = {user for _, user, *_ in found.targets}
            assert all(found.train_lengths[user] == 0 for user in ranked)
            assert {user for part, user, *_ in found.targets if part == "test"}.isdisjoint(
                user for part, user, *_ in found.targets if part != "test"
            )

    check()


def in_time(found: Prepared) -> None:
    """Training before validation before test, and no event that is later than a target in its history."""
    trained = [event.time for user, events in found.events.items() for event in events[: found.train_lengths[user]]]
    times: dict[str, list[int]] = defaultdict(list)
    for split, user, _, history in found.targets:
        times["test" if split == "test" else "validation"].append(found.events[user][history].time)
        assert all(event.time <= found.events[user][history].time for event in found.events[user][:history])
    assert max(trained) < min(times["validation"])
    assert max(times["validation"]) < min(times["test"])


@QUICK
@given(log=logs(least=20, most=60), seed=st.integers(0, 9))
def test_promotion_takes_users_of_validation_and_nothing_else(log: list[Event], seed: int) -> None:
    split = TemporalSplit(validation=0.3, test=0.2, targets="every")
    without, with_ = (PrepareSpec(split=split, promotion=share, seed=seed) for share in (0.0, 0.4))
    if reference(log, without) is None:
        return
    with prepared(log, without) as one, prepared(log, with_) as other:
        plain_split, promoted = said(one), said(other)
    assert plain_split.train_lengths == promoted.train_lengths

    def of(found: Prepared, *splits: str) -> list[Target]:
        return sorted(("", *target[1:]) for target in found.targets if target[0] in splits)

    assert of(plain_split, "test") == of(promoted, "test")
    assert of(plain_split, "validation") == of(promoted, "validation", "promotion")
    users = [{target[1] for target in of(promoted, part)} for part in ("validation", "promotion")]
    assert users[0]
    assert users[0].isdisjoint(users[1])


def test_the_users_drawn_stay_when_others_come_and_are_about_their_share() -> None:
    def events(users: range) -> list[Event]:
        return [Event(f"u{user}", str(item), item, 0, 1) for user in users for item in range(3)]

    prepare = PrepareSpec(split=UserSplit(validation=0.2, test=0.1), promotion=0.25)
    with prepared(events(range(1000)), prepare) as few, prepared(events(range(500, 3000)), prepare) as more:
        places = [{user: split for split, user, *_ in said(snapshot).targets} for snapshot in (few, more)]
    before, after = ({user: place.get(f"u{user}") for user in range(500, 1000)} for place in places)
    assert before == after
    counts = Counter(places[1].values())
    expected = {"test": 250, "validation": 375, "promotion": 125}
    assert all(abs(counts[split] - count) < 4 * count**0.5 for split, count in expected.items())


def test_another_seed_draws_others() -> None:
    log = [Event(f"u{user}", str(item), item, 0, 1) for user in range(100) for item in range(3)]
    found = []
    for seed in (0, 1):
        with prepared(log, PrepareSpec(split=UserSplit(validation=0.3, test=0.3), seed=seed)) as snapshot:
            found.append({user: split for split, user, *_ in said(snapshot).targets})
    assert found[0] != found[1]


def test_a_session_log_of_ten_users_is_parted_eight_to_one_to_one() -> None:
    """DreamRec's protocol: in the order of first events, every prefix of a held-out session a target."""
    log = [Event(f"u{user}", str(item), 100 - user * 3 + item, 0, 1, row=0) for user in range(10) for item in range(4)]
    with prepared(log, PrepareSpec(split=SessionSplit(), promotion=0)) as snapshot:
        found = said(snapshot)
    assert [user for user, length in found.train_lengths.items() if length == 0] == ["u0", "u1"]
    assert [target for target in found.targets if target[0] == "validation"] == [
        ("validation", "u1", str(item), item) for item in (1, 2, 3)
    ]
    assert [target for target in found.targets if target[0] == "test"] == [
        ("test", "u0", str(item), item) for item in (1, 2, 3)
    ]


def test_moments_part_no_events_of_equal_time() -> None:
    log = [Event(user, str(item), time, 0, 1) for user in "ab" for item, time in enumerate([1, 2, 3, 3, 3, 4, 5, 5])]
    split = TemporalSplit(validation=0.25, test=0.2, targets="every")
    with prepared(log, PrepareSpec(split=split, promotion=0)) as snapshot:
        found = said(snapshot)
    times = {
        split: sorted({found.events[user][history].time for part, user, _, history in found.targets if part == split})
        for split in ("validation", "test")
    }
    assert found.train_lengths == {"a": 2, "b": 2}
    assert times == {"validation": [3, 4], "test": [5]}


# What is refused


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (LeaveOneOut(min_events=9), r"no user has the 9 interactions that .* takes \(the longest history has 3\)"),
        (SessionSplit(), r"sessions split .* of 9 events of 3 users leaves no target of validation"),
        (TemporalSplit(validation=0.4, test=0.4), "temporal split .* leaves nothing to train on"),
        (UserSplit(validation=0.0001, test=0.0001), "users split .* leaves no target of validation"),
    ],
)
def test_a_split_that_leaves_a_part_empty_is_refused_with_its_numbers(split: Split, message: str) -> None:
    log = [Event(user, str(item), 5, 0, 1) for user in "abc" for item in range(3)]
    with (
        prepared(log, PrepareSpec(split=split)) as snapshot,
        pytest.raises(InputError, match=rf"^log\.csv: .*{message}"),
    ):
        refuse_unranked(snapshot)


def test_a_share_of_no_event_is_refused() -> None:
    log = [Event(user, str(item), 5, 0, 1) for user in "abc" for item in range(3)]
    message = r"temporal split of 9 events leaves none for test at a share of 0\.01"
    with pytest.raises(InputError, match=message), prepared(log, PrepareSpec(split=TemporalSplit(test=0.01))):
        pass


def test_a_temporal_split_needs_times(write_log: Callable[..., Path], ingest_file: Callable[..., Snapshot]) -> None:
    path = write_log("user_id,item_id\n" + "a,1\na,2\na,3\n" * 9)
    with pytest.raises(InputError, match="no column of times, which the temporal split"):
        ingest_file(path, prepare=PrepareSpec(split=TemporalSplit()))


# Nothing but what the log says makes a difference


@pytest.mark.parametrize("split", [LeaveOneOut(), SessionSplit(), TemporalSplit(targets="every"), UserSplit()])
def test_threads_and_the_rows_of_a_file_with_times_make_no_difference(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = [Event(f"u{n % 97}", str(n * n % 89), n * 7919 % 3001, 0, 1) for n in range(3000)]
    digests = set()
    for threads, step in (("1", 1), ("2", 1), ("2", 1009)):
        monkeypatch.setenv("REC_DENOISER_THREADS", threads)
        rows = [log[n * step % len(log)] for n in range(len(log))]
        with prepared(rows, PrepareSpec(split=split, duplicates="first")) as snapshot:
            digests.add(snapshot.digest)
            ordered = duckdb.sql(f"SELECT \"user\", position FROM '{snapshot.interactions}'").fetchall()
    assert len(digests) == 1
    assert all(one < other for one, other in pairwise(ordered))
