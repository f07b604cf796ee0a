"""Two snapshots are compared by raw ids."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.corrupt import corrupt
from tasks.data_specs import CorruptSpec, PrepareSpec
from tasks.home import Home
from tasks.shelf.diff import Example, OnlyInOne, diff, lineage, made_by
from tasks.shelf.forget import forget
from tasks.snapshots import Snapshot

Row = tuple[Any, ...]
Ingest = Callable[..., Snapshot]
Write = Callable[..., Path]


@pytest.fixture
def of_events(ingest_file: Ingest, write_log: Write) -> Callable[..., Snapshot]:
    """`of_events(["a x 1", …])` ingests events (user, item, time; noise where there is a fourth word)."""

    def make(events: list[str], *, times: bool = True) -> Snapshot:
        rows = [[*event.split(" "), ""][:4] for event in events]
        text = "user_id,item_id,ts,noise\n" + "\n".join(",".join(row) for row in rows) + "\n"
        columns = {"time": "ts"} if times else {}
        return ingest_file(write_log(text), prepare=PrepareSpec(promotion=0), noise="noise", **columns)

    return make


LOG = [f"{user} {item} {1_000_000_000 + number}" for user in "ab" for number, item in enumerate("vwxyz")]


def changed(events: list[str], **by: str) -> list[str]:
    """The events with some replaced: `a1="…"` is user a's event at position 1; "" leaves it out."""
    places = {f"{user}{number}": index for index, (user, number) in enumerate((u, n) for u in "ab" for n in range(5))}
    new = list(events)
    for place, event in by.items():
        new[places[place]] = event
    return [event for event in new if event]


def test_equal_snapshots_do_not_differ(of_events: Callable[..., Snapshot], home: Home) -> None:
    a = of_events(LOG)
    found = diff(a, a, home=home)
    assert found.lineage == "A and B are the same snapshot."
    assert (found.spec, found.changes, found.labels) == ({}, {}, {})
    assert found.users == found.items == OnlyInOne(0, (), 0, ())
    assert (found.targets.in_both, found.targets.only_a, found.targets.only_b) == (4, 0, 0)
    assert all(one == other for one, other in found.counts.values())


@pytest.mark.parametrize("columns", [{"times": True}, {"times": False}], ids=["times", "no-times"])
def test_each_change_is_told_by_raw_ids(
    of_events: Callable[..., Snapshot], home: Home, columns: dict[str, bool]
) -> None:
    a = of_events(LOG, **columns)
    b = of_events(
        [
            *changed(LOG, a1="a new 1000000001", a2="a x 1000000002 misclick", b0=""),
            *(f"c {item} {1_000_000_000 + number}" for number, item in enumerate("vwx")),
        ],
        **columns,
    )
    found = diff(a, b, home=home)
    assert found.users == OnlyInOne(0, (), 1, ("c",))
    assert found.items == OnlyInOne(0, (), 1, ("new",))
    assert {name: (one.events, one.users) for name, one in found.changes.items()} == {
        "removed": (1, 1),
        "added": (3, 1),
        "replaced": (1, 1),
        "relabelled": (1, 1),
    }
    assert found.changes["removed"].first == (Example("b", "v", None, 0, None, None),)
    assert found.changes["replaced"].first == (Example("a", "w", "new", 1, None, None),)
    assert found.changes["relabelled"].first == (Example("a", "x", "x", 2, None, "misclick"),)
    assert found.counts["users"] == (2, 3)
    assert found.labels == {"misclick": (0, 1)}
    targets = found.targets
    assert (targets.only_a, targets.only_b, targets.in_both, targets.shorter, targets.longer) == (0, 2, 4, 2, 0)
    assert targets.renumbered == 2
    assert [name for name in found.spec if name.startswith("file")] == ["file 1"]


def test_events_of_one_moment_in_another_order_have_moved(of_events: Callable[..., Snapshot], home: Home) -> None:
    at_once = [f"a {item} 1000000000" for item in "vwxyz"]
    swapped = [at_once[1], at_once[0], *at_once[2:]]
    found = diff(of_events(at_once), of_events(swapped), home=home)
    assert {name: (one.events, one.users) for name, one in found.changes.items()} == {"moved": (2, 1)}
    found = diff(of_events(at_once, times=False), of_events(swapped, times=False), home=home)
    assert {name: (one.events, one.users) for name, one in found.changes.items()} == {"replaced": (2, 1)}


@pytest.mark.parametrize("columns", [{"times": True}, {"times": False}], ids=["times", "no-times"])
def test_an_event_put_in_changes_no_other(
    of_events: Callable[..., Snapshot], home: Home, columns: dict[str, bool]
) -> None:
    longer = ["a z 1000000000 misclick", *LOG]
    found = diff(of_events(LOG, **columns), of_events(longer, **columns), home=home)
    assert {name: one.events for name, one in found.changes.items()} == {"added": 1}
    assert (found.targets.longer, found.targets.shorter) == (2, 0)


@pytest.mark.parametrize("columns", [{"time": "ts"}, {}], ids=["times", "no-times"])
def test_noise_is_counted_as_it_was_put_in(
    tiny_log: Path, ingest_file: Ingest, home: Home, rows_of: Any, columns: dict[str, str]
) -> None:
    clean = ingest_file(tiny_log, **columns)
    noisy = corrupt(clean, CorruptSpec(ratio=0.2, seed=3), home=home)
    found = diff(clean, noisy, home=home)
    pairs = zip(rows_of(clean.interactions), rows_of(noisy.interactions), strict=True)
    different = [(one, other) for one, other in pairs if one[1] != other[1]]
    assert {name: one.events for name, one in found.changes.items()} == {"replaced": len(different)}
    assert found.changes["replaced"].users == len({one[0] for one, _ in different})
    assert found.labels["replace"] == (0, len(different))
    assert found.spec["corrupt.ratio"] == (None, 0.2)
    assert found.lineage == "B is A with 20 % replace (seed 3)."
    assert diff(noisy, clean, home=home).lineage == "A is B with 20 % replace (seed 3)."


def test_lineage_is_told(
    tiny_log: Path, tiny_snapshot: Snapshot, ingest_file: Ingest, write_log: Write, home: Home
) -> None:
    one, two = (corrupt(tiny_snapshot, CorruptSpec(ratio=ratio), home=home) for ratio in (0.1, 0.5))
    without = forget(tiny_snapshot, ["u07"], home=home).new
    other_way = ingest_file(tiny_log, time="ts", prepare=PrepareSpec(user_core=5))
    elsewhere = ingest_file(write_log("user_id,item_id\na,1\na,2\na,3\n"))
    assert lineage(one, two) == (
        f"Both were made from {tiny_snapshot.name}: A is it with 10 % replace (seed 0), "
        "B is it with 50 % replace (seed 0)."
    )
    assert lineage(tiny_snapshot, without) == "B is A without 1 user."
    again = forget(without, ["u08", "u09"], home=home).new
    assert lineage(without, again) == "B is A without 2 users."
    assert lineage(again, without) == "A is B without 2 users."
    assert made_by(again, None) == "without 3 users", "where the one before is gone, all that were forgotten"
    assert made_by(tiny_snapshot, None) == ""
    assert lineage(tiny_snapshot, other_way) == "Both were made from the same files, differently."
    assert lineage(tiny_snapshot, elsewhere) == "They were made from different files."
