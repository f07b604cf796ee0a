"""Replacement noise: exact in number, nested over ratios, and never where models are judged."""

from collections import Counter
from collections.abc import Callable
from itertools import groupby, pairwise, product
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from tasks.corrupt import corrupt
from tasks.data_specs import CorruptSpec, NoiseKind, PrepareSpec
from tasks.errors import InputError
from tasks.home import Home
from tasks.snapshots import Snapshot, open_snapshot, verify_files
from tasks.validate import validate

Row = tuple[Any, ...]
Read = Callable[[Path], list[Row]]

USER, ITEM, TIME, POSITION, NOISE = range(5)


def replaced(snapshot: Snapshot, rows_of: Read) -> dict[tuple[int, int], int]:
    """(user, position) -> item of what is labelled as replaced."""
    rows = rows_of(snapshot.interactions)
    return {(row[USER], row[POSITION]): row[ITEM] for row in rows if row[NOISE] == "replace"}


@pytest.mark.parametrize("ratio", [0.01, 0.2, 0.5])
def test_exactly_the_asked_share_of_the_training_positions(
    tiny_snapshot: Snapshot, home: Home, rows_of: Read, ratio: float
) -> None:
    noisy = corrupt(tiny_snapshot, CorruptSpec(ratio=ratio, seed=3), home=home)
    changed = replaced(noisy, rows_of)
    training = tiny_snapshot.counts.training
    assert len(changed) == round(ratio * training)
    assert noisy.manifest.realised_ratio == len(changed) / training

    clean_rows, noisy_rows = rows_of(tiny_snapshot.interactions), rows_of(noisy.interactions)
    train_length = {user: length for user, _, length in rows_of(tiny_snapshot.users)}
    own_targets: dict[int, set[int]] = {}
    for _, user, item, _, _ in rows_of(tiny_snapshot.targets):
        own_targets.setdefault(user, set()).add(item)
    for clean, dirty in zip(clean_rows, noisy_rows, strict=True):
        assert (clean[USER], clean[TIME], clean[POSITION]) == (dirty[USER], dirty[TIME], dirty[POSITION])
        if (clean[USER], clean[POSITION]) in changed:
            assert clean[POSITION] < train_length[clean[USER]]
            assert dirty[ITEM] != clean[ITEM]
            assert dirty[ITEM] not in own_targets.get(clean[USER], set())
            assert 1 <= dirty[ITEM] <= tiny_snapshot.counts.items
        else:
            assert clean == dirty
    labelled = [row for row in noisy_rows if row[NOISE] and row[POSITION] < train_length[row[USER]]]
    assert noisy.counts.noisy == len(labelled)


def test_everything_else_is_untouched_and_the_manifest_says_where_it_comes_from(
    tiny_snapshot: Snapshot, home: Home, rows_of: Read, left_in: Callable[[], list[Path]]
) -> None:
    noisy = corrupt(tiny_snapshot, CorruptSpec(ratio=0.3, seed=3), home=home)
    for table in ("targets", "users", "items"):
        assert rows_of(getattr(noisy, table)) == rows_of(getattr(tiny_snapshot, table))
    assert noisy.manifest.parent == noisy.manifest.clean == tiny_snapshot.digest
    assert noisy.manifest.spec["corrupt"] == {"kind": "replace", "ratio": 0.3, "seed": 3, "taken_out": False}
    assert noisy.manifest.sources == tiny_snapshot.manifest.sources
    assert left_in() == sorted([tiny_snapshot.path, noisy.path])
    verify_files(noisy)
    verify_files(open_snapshot(tiny_snapshot.path))


@pytest.mark.parametrize("kind", ["replace", "popular", "swap", "delete"])
def test_an_oracle_is_left_what_no_noise_touched(
    tiny_snapshot: Snapshot, home: Home, rows_of: Read, kind: NoiseKind
) -> None:
    noisy = corrupt(tiny_snapshot, CorruptSpec(kind=kind, ratio=0.3, seed=3), home=home)
    known = corrupt(tiny_snapshot, CorruptSpec(kind=kind, ratio=0.3, seed=3, taken_out=True), home=home)
    genuine = [row for row in rows_of(noisy.interactions) if row[NOISE] != kind]
    found = rows_of(known.interactions)
    assert len(found) < len(rows_of(tiny_snapshot.interactions))
    assert [row[:POSITION] for row in found] == [row[:POSITION] for row in genuine]
    for user, events in groupby(found, key=itemgetter(USER)):
        assert [row[POSITION] for row in events] == list(range(sum(row[USER] == user for row in genuine)))
    history_of = {target: history for target, *_, history in rows_of(known.targets)}
    for target, user, item, split, _ in rows_of(tiny_snapshot.targets):
        assert (user, item, split) == next(row[1:4] for row in rows_of(known.targets) if row[0] == target)
        assert next(r[ITEM] for r in found if (r[USER], r[POSITION]) == (user, history_of[target])) == item
    assert validate(known.path, docs=home.docs).failures == ()


@pytest.mark.parametrize("kind", ["replace", "popular", "swap"])
@pytest.mark.parametrize("split", [{"kind": "leave-one-out"}, {"kind": "sessions"}])
def test_where_all_before_a_target_is_noise_an_oracle_keeps_one_event_of_it(
    ingest_file: Callable[..., Snapshot],
    write_log: Callable[..., Path],
    home: Home,
    rows_of: Read,
    kind: NoiseKind,
    split: dict[str, Any],
) -> None:
    """A target without a history would be ranked from nothing. What is kept is noise, and labelled and counted so."""
    events = [(user, (7 * user + event) % 30) for user in range(80) for event in range(3 + user % 3)]
    log = write_log("user_id,item_id\n" + "".join(f"u{user:02},{item}\n" for user, item in events))
    clean = ingest_file(log, prepare=PrepareSpec.model_validate({"split": split}))
    known = corrupt(clean, CorruptSpec(kind=kind, ratio=0.5, seed=3, taken_out=True), home=home)
    assert min(history for *_, history in rows_of(known.targets)) >= 1
    spared = [row for row in rows_of(known.interactions) if row[NOISE] == kind]
    assert spared
    first_target = {user: history for _, user, _, _, history in reversed(rows_of(known.targets))}
    assert {first_target.get(row[USER], 1) for row in spared} == {1}, "a user with another event keeps no noise"
    changes = known.manifest.changes
    assert changes is not None
    assert changes.replaced + changes.moved == len(spared)
    assert changes.deleted == clean.counts.interactions - known.counts.interactions
    assert validate(known.path, docs=home.docs).failures == ()


@pytest.mark.parametrize("kind", ["insert", "bots"])
def test_noise_that_was_put_in_leaves_nothing_behind_when_it_is_taken_out(
    tiny_snapshot: Snapshot, home: Home, kind: NoiseKind
) -> None:
    assert corrupt(tiny_snapshot, CorruptSpec(kind=kind, ratio=0.3, taken_out=True), home=home) is tiny_snapshot


def test_a_larger_ratio_contains_a_smaller_one(tiny_snapshot: Snapshot, home: Home, rows_of: Read) -> None:
    sets = [
        replaced(corrupt(tiny_snapshot, CorruptSpec(ratio=ratio, seed=5), home=home), rows_of)
        for ratio in (0.05, 0.1, 0.4, 0.5)
    ]
    for smaller, larger in pairwise(sets):
        assert smaller.items() <= larger.items()
        assert len(smaller) < len(larger)


def test_the_seed_decides_and_nothing_else(tiny_snapshot: Snapshot, home: Home) -> None:
    first, again, other = (corrupt(tiny_snapshot, CorruptSpec(ratio=0.2, seed=seed), home=home) for seed in (1, 1, 2))
    assert first == again
    assert first.digest != other.digest


def test_a_replacement_is_any_other_item_with_equal_chance(
    ingest_file: Callable[..., Snapshot], write_log: Callable[..., Path], home: Home, rows_of: Read
) -> None:
    """One user with 20,000 trained events on item 1 and the last two on 2 and 3: 4 to 10 are left to draw."""
    items = [*range(4, 11), *[1] * 20_000, 2, 3]
    text = "user_id,item_id\n" + "".join(f"a,{item}\n" for item in items)
    snapshot = ingest_file(write_log(text))
    noisy = corrupt(snapshot, CorruptSpec(ratio=0.5, seed=0), home=home)
    rows = rows_of(noisy.interactions)
    drawn = Counter(row[ITEM] for row in rows if row[NOISE] == "replace" and row[POSITION] >= 7)
    assert set(drawn) == set(range(4, 11))
    expected = sum(drawn.values()) / 7
    statistic = sum((count - expected) ** 2 / expected for count in drawn.values())
    assert statistic < 22.5  # the chi-squared distribution with 6 degrees of freedom exceeds it once in 1,000


def test_no_noise_is_the_snapshot_itself(tiny_snapshot: Snapshot, home: Home) -> None:
    assert corrupt(tiny_snapshot, CorruptSpec(ratio=0.0), home=home) is tiny_snapshot
    assert corrupt(tiny_snapshot, CorruptSpec(ratio=1e-6), home=home) is tiny_snapshot


def test_noise_upon_noise_is_refused(tiny_snapshot: Snapshot, home: Home) -> None:
    noisy = corrupt(tiny_snapshot, CorruptSpec(ratio=0.2), home=home)
    with pytest.raises(InputError, match=f"injected noise already: corrupt the clean one, {tiny_snapshot.name}"):
        corrupt(noisy, CorruptSpec(ratio=0.2), home=home)


@pytest.mark.parametrize("kind", ["insert", "replace", "delete"])
def test_a_log_whose_own_labels_are_those_of_the_noise_is_refused(
    ingest_file: Callable[..., Snapshot],
    write_log: Callable[..., Path],
    home: Home,
    left_in: Callable[[], list[Path]],
    kind: NoiseKind,
) -> None:
    events = product(range(20), range(10))
    rows = [f"u{user},{(user + event) % 30},{kind if event == 9 else ''}\n" for user, event in events]
    snapshot = ingest_file(write_log("user_id,item_id,why\n" + "".join(rows)), noise="why")
    with pytest.raises(InputError, match=f"labels noise as '{kind}' itself, .*: choose another kind, or give"):
        corrupt(snapshot, CorruptSpec(kind=kind, ratio=0.2), home=home)
    assert left_in() == [snapshot.path]
    other = corrupt(snapshot, CorruptSpec(kind="popular", ratio=0.2), home=home)
    assert validate(other.path, docs=home.docs).failures == ()


def test_a_catalogue_too_small_to_draw_from_is_said(
    ingest_file: Callable[..., Snapshot],
    write_log: Callable[..., Path],
    home: Home,
    left_in: Callable[[], list[Path]],
) -> None:
    snapshot = ingest_file(write_log("user_id,item_id\nann,1\nann,1\nann,2\nann,3\n"))
    with pytest.raises(InputError, match="3 items leaves nothing to replace an item of user ann with"):
        corrupt(snapshot, CorruptSpec(ratio=0.5), home=home)
    assert left_in() == [snapshot.path]
