"""How noise is distributed: draws against their probabilities, the shape of bursts, bots and shared accounts."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import chisquare

from tasks.corruption.apply import apply
from tasks.corruption.draws import count_up_to
from tasks.corruption.kinds import plan
from tasks.corruption.openlog import NEVER, Insertions, NewUsers, OpenLog
from tasks.data_specs import NoiseKind

SECOND = 1_000_000


def log_of(
    histories: Sequence[Sequence[int]],
    *,
    forbidden: Sequence[Sequence[int]] | None = None,
    catalogue: int,
    gap: int | None = 60 * SECOND,
) -> OpenLog:
    """Users with these items, all trained on, one every `gap` microseconds; the users one after the other."""
    lengths = [len(history) for history in histories]
    barred = forbidden or [[] for _ in histories]
    items = np.concatenate([np.asarray(history) for history in histories])
    return OpenLog(
        item=items.astype(np.int32),
        time=None if gap is None else np.arange(len(items)) * gap,
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        train_length=np.array(lengths),
        next_time=np.full(len(histories), NEVER),
        forbidden_offsets=np.concatenate([[0], np.cumsum([len(items) for items in barred])]).astype(np.int64),
        forbidden_items=np.array([item for items in barred for item in items], dtype=np.int32),
        catalogue=catalogue,
    )


def assert_drawn_as(drawn: Sequence[int], weights: dict[int, float]) -> None:
    """Every item that may be drawn is, as often as its weight says: seldom further off by chance than 1 in 1,000."""
    found = Counter(drawn)
    assert set(found) == set(weights)
    total = sum(weights.values())
    expected = [len(drawn) * weight / total for weight in weights.values()]
    assert chisquare([found[item] for item in weights], expected).pvalue > 0.001


def skewed(*, users: int) -> OpenLog:
    """Users with items 1..12 as often as their number says, each followed by 12 times item 3; ranked on 5 and 9."""
    history = [item for item in range(1, 13) for _ in range(item)] + [3] * 12
    return log_of([history] * users, forbidden=[[5, 9]] * users, catalogue=14)


@pytest.mark.parametrize("kind", ["replace", "popular"])
def test_a_replacement_is_drawn_without_the_events_item_and_those_its_user_is_ranked_on(kind: NoiseKind) -> None:
    log = skewed(users=400)
    edits = plan(log, kind, ratio=0.5, seed=11).edits
    for own in (1, 3, 4, 12):
        drawn = edits.replacements[log.item[edits.replaced] == own].tolist()
        allowed = [item for item in range(1, 15) if item not in (own, 5, 9)]
        weights = {item: 1.0 if kind == "replace" else float(log.popularity[item]) for item in allowed}
        assert_drawn_as(drawn, {item: weight for item, weight in weights.items() if weight})


def test_an_event_whose_item_its_user_is_ranked_on_is_replaced_by_any_other() -> None:
    log = log_of([[5] * 20_000], forbidden=[[2, 5]], catalogue=6)
    drawn = plan(log, "replace", ratio=0.5, seed=2).edits.replacements
    assert_drawn_as(drawn.tolist(), {1: 1, 3: 1, 4: 1, 6: 1})


def test_replace_and_popular_hit_the_same_events() -> None:
    log = skewed(users=5)
    first, second = (plan(log, kind, ratio=0.3, seed=1).edits for kind in ("replace", "popular"))
    assert first.replaced.tolist() == second.replaced.tolist()


@pytest.mark.parametrize("kind", ["replace", "insert", "delete", "burst"])
def test_every_place_is_as_likely(kind: NoiseKind) -> None:
    """Where in a history of 10 the noise is, over 3,000 users."""
    log = log_of([list(range(1, 11))] * 3_000, catalogue=10)
    edits = plan(log, kind, ratio=0.2, seed=4).edits
    match kind:
        case "replace":
            places = log.position[edits.replaced]
        case "delete":
            places = log.position[edits.deleted]
        case _:
            assert edits.inserted is not None
            runs = np.unique(np.stack([edits.inserted.user, edits.inserted.after]), axis=1)
            places = runs[1] if kind == "burst" else edits.inserted.after
    assert_drawn_as(places.tolist(), dict.fromkeys(range(10), 1.0))


def inserted(log: OpenLog, kind: NoiseKind, *, ratio: float, seed: int = 3) -> Insertions:
    """What a kind puts in."""
    found = plan(log, kind, ratio=ratio, seed=seed).edits.inserted
    assert found is not None
    return found


@pytest.mark.parametrize("kind", ["insert", "burst"])
def test_inserted_items_are_uniform_over_those_the_user_is_not_ranked_on(kind: NoiseKind) -> None:
    log = log_of([[1] * 20_000], forbidden=[[2, 5]], catalogue=6)
    assert_drawn_as(inserted(log, kind, ratio=0.5).item.tolist(), dict.fromkeys([1, 3, 4, 6], 1.0))


def test_an_inserted_event_is_within_an_hour_and_before_the_next() -> None:
    for gap, room in ((60 * SECOND, 60 * SECOND), (86_400 * SECOND, 3_600 * SECOND)):
        log = log_of([[1] * 5_000], catalogue=50, gap=gap)
        noise = inserted(log, "insert", ratio=0.4)
        assert noise.time is not None
        assert log.time is not None
        delay = (noise.time - log.time[noise.after])[noise.after < 4_999]
        assert 0 <= delay.min() < 0.02 * room
        assert 0.98 * room < delay.max() <= room
        assert np.mean(delay) == pytest.approx(room / 2, rel=0.05)


def test_a_burst_is_three_to_eight_events_within_seconds() -> None:
    log = log_of([[1] * 50] * 400, catalogue=50)
    noise = inserted(log, "burst", ratio=0.3)
    assert noise.time is not None
    assert log.time is not None
    rows = log.offsets[noise.user] + noise.after
    borders = np.flatnonzero(np.diff(rows)) + 1
    runs = np.split(noise.time - log.time[rows], borders)
    assert len(runs) == len(np.unique(rows)), "two runs stand in one place"
    lengths = [len(run) for run in runs[:-1]]
    assert_drawn_as(lengths, dict.fromkeys(range(3, 9), 1.0))
    last_of_log = rows[np.concatenate([[0], borders])] == log.events - 1
    pauses = np.concatenate([np.diff(run, prepend=0) for run, last in zip(runs, last_of_log, strict=True) if not last])
    assert pauses.min() >= 0.2 * SECOND
    assert pauses.max() <= 2 * SECOND
    assert np.mean(pauses) == pytest.approx(1.1 * SECOND, rel=0.02)


def test_a_burst_never_outlasts_the_next_event() -> None:
    log = log_of([[1] * 2_000], catalogue=50, gap=SECOND)
    edited = apply(log, plan(log, "burst", ratio=0.5, seed=0).edits)
    assert edited.time is not None
    assert np.all(np.diff(edited.time) >= 0)
    assert np.all(np.diff(np.flatnonzero(edited.source >= 0)) <= 9)


def bots_of(log: OpenLog, *, ratio: float) -> NewUsers:
    """The bots that are added."""
    found = plan(log, "bots", ratio=ratio, seed=5).edits.added
    assert found is not None
    return found


def test_bots_keep_a_pace_that_nobody_could() -> None:
    log = log_of([[1] * 50] * 2_000, catalogue=1_000)
    bots = bots_of(log, ratio=0.5)
    assert bots.time is not None
    assert bots.lengths[:-1].min() == 50
    assert bots.lengths[:-1].max() == 150
    borders = np.cumsum(bots.lengths)[:-1]
    paces = []
    for times, items in zip(np.split(bots.time, borders), np.split(bots.item, borders), strict=True):
        assert len(np.unique(items)) <= 5
        if len(times) > 1:
            assert len(np.unique(np.diff(times))) == 1, "a bot changes its pace"
            paces.append(times[1] - times[0])
    assert min(paces) >= 0.05 * SECOND
    assert max(paces) <= 0.5 * SECOND
    starts = bots.time[np.concatenate([[0], borders])]
    assert np.histogram(starts, bins=4, range=(0, log.horizon))[0].min() > 0.2 * len(starts)


def test_a_shared_account_is_one_guests_log_interleaved_by_time() -> None:
    """Two people at once, one on odd and one on even seconds: the host's history alternates."""
    log = log_of([list(range(1, 11)), list(range(11, 21))], catalogue=20)
    log = OpenLog(**{**vars(log), "time": np.concatenate([np.arange(0, 20, 2), np.arange(1, 21, 2)]) * SECOND})
    edited = apply(log, plan(log, "sharing", ratio=1 / 3, seed=1).edits)
    host = int(edited.user[edited.touched][0])
    assert edited.growth.tolist() == [10 if user == host else 0 for user in range(2)]
    merged = [item for pair in zip(range(1, 11), range(11, 21), strict=True) for item in pair]
    assert edited.item[edited.user == host].tolist() == merged


def test_without_times_a_guests_events_are_spread_over_the_hosts_history() -> None:
    log = log_of([[1] * 12, [2] * 4], catalogue=2, gap=None)
    edited = apply(log, plan(log, "sharing", ratio=0.5, seed=1).edits)
    assert edited.item[edited.user == 0].tolist() == [1, 1, 2, 1, 1, 1, 2, 1, 1, 1, 2, 1, 1, 1, 2, 1]
    assert edited.item[edited.user == 1].tolist() == [1, 2, 1, 1, 1, 2, 1, 1, 1, 2, 1, 1, 1, 2, 1, 1]


def test_accounts_are_shared_whole_one_after_the_other() -> None:
    log = log_of([[user + 1] * 10 for user in range(300)], catalogue=300, gap=None)
    noise = inserted(log, "sharing", ratio=0.2)
    per_host = Counter(noise.user.tolist())
    assert sorted(per_host.values()) == [10] * 75
    assert all(
        len({item for u, item in zip(noise.user, noise.item, strict=True) if u == host}) == 1 for host in per_host
    )


def test_guests_are_people_who_begin_at_about_the_same_time() -> None:
    log = log_of([[user + 1] * 10 for user in range(1_000)], catalogue=1_000)
    noise = inserted(log, "sharing", ratio=0.2)
    distance = np.abs(noise.user - (noise.item - 1))
    assert distance.max() < 64
    assert len(np.unique(distance)) > 20


def test_counting_in_segments_is_what_searching_each_one_would_find() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 9, 200)
    ends = np.cumsum(lengths)
    keys = np.concatenate([np.sort(rng.integers(0, 20, n)) for n in lengths])
    values = rng.integers(-1, 21, 200)
    found = count_up_to(keys, values, starts=ends - lengths, ends=ends)
    expected = [
        np.searchsorted(keys[e - n : e], v, side="right") for n, e, v in zip(lengths, ends, values, strict=True)
    ]
    assert found.tolist() == expected
