"""The generated shop log: the same everywhere, labelled, and worth learning from."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from tasks import shoppers
from tasks.data_specs import ShoppersSpec
from tasks.shoppers import NOISE_KINDS, Log, generate, simulate

GENUINE, MISCLICK, SHARED = range(3)
SMALL = ShoppersSpec(users=60, items=80, seed=3)
SMALLEST = ShoppersSpec(users=10, items=50, seed=0)


@pytest.fixture(scope="module")
def log() -> Log:
    """The log of the default spec."""
    return simulate(ShoppersSpec())


def digest(log: Log) -> str:
    """SHA-256 over the logical columns, a row a line."""
    rows = zip(
        log.user.tolist(),
        log.item.tolist(),
        log.time.astype(np.int64).tolist(),
        log.noise.tolist(),
        strict=True,
    )
    lines = (f"{log.user_ids[u]}\t{log.item_ids[i]}\t{time}\t{NOISE_KINDS[n] or ''}\n" for u, i, time, n in rows)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def histories(log: Log) -> Iterator[NDArray[np.int64]]:
    """Each user's row numbers, oldest first."""
    by_user = np.argsort(log.user, kind="stable")
    yield from np.split(by_user, np.flatnonzero(np.diff(log.user[by_user])) + 1)


def test_the_default_log_is_the_same_to_the_bit(log: Log) -> None:
    assert digest(log) == "d56e57b607709bd2cbb395c50c6dc683c37d98b82873f57e681d1680c6865b74"


def test_a_small_log_is_the_same_to_the_bit() -> None:
    assert digest(simulate(SMALL)) == "43585796ae1615b2cf1b50b656f9c81412c7c772c127eaf347a0a2fb765b6465"


def test_another_seed_makes_another_log() -> None:
    assert digest(simulate(SMALL.model_copy(update={"seed": 4}))) != digest(simulate(SMALL))


def test_it_has_the_promised_size(log: Log) -> None:
    lengths = np.bincount(log.user)
    assert len(log.user_ids) == len(lengths) == 2_000
    assert len(log.item_ids) == len(set(log.item_ids)) == len(np.unique(log.item)) == 1_000
    assert 60_000 <= len(log.item) <= 90_000
    assert lengths.min() >= 5
    assert lengths.max() <= 150
    assert lengths.mean() > 1.2 * np.median(lengths), "a few users should have long histories"


def test_popularity_has_a_long_tail(log: Log) -> None:
    counts = np.sort(np.bincount(log.item))[::-1]
    assert counts[:200].sum() > 0.55 * counts.sum()


def test_item_ids_name_their_category(log: Log) -> None:
    named = [item_id.rpartition("-")[0] for item_id in log.item_ids]
    assert named == [log.categories[category] for category in log.category]
    assert {"phone", "bag", "headphone", "trousers", "laptop"} <= set(named)


def test_noise_comes_in_the_promised_shares(log: Log) -> None:
    share = np.bincount(log.noise, minlength=3) / len(log.noise)
    assert 0.04 < share[MISCLICK] < 0.06
    assert 0.02 < share[SHARED] < 0.06
    assert share.sum() == pytest.approx(1), "a kind beyond those that are named"
    accounts = np.unique(log.user[log.noise == SHARED])
    assert 0.10 < len(accounts) / 2_000 < 0.17

    ends = np.concatenate([rows[-2:] for rows in histories(log)])
    assert 0 < np.mean(log.noise[ends] != GENUINE) < 0.5 * np.mean(log.noise != GENUINE)


def test_visits_are_minutes_within_and_days_apart(log: Log) -> None:
    assert np.all(np.diff(log.time) >= np.timedelta64(0)), "a shop's log is in the order of time"
    assert log.time[0] >= np.datetime64("2023-01-01")
    assert log.time[-1] < np.datetime64("2025-01-01")
    gaps = np.concatenate([np.diff(log.time[rows]) for rows in histories(log)]) / np.timedelta64(1, "h")
    assert gaps.min() > 0, "the order of a user's events should be beyond doubt"
    apart = gaps > 4
    assert np.all(gaps[~apart] <= 0.5)
    assert 0.15 < apart.mean() < 0.4
    assert np.median(gaps[apart]) > 24


@pytest.mark.parametrize("spec", [SMALL, SMALLEST])
def test_nobody_meets_an_item_twice(spec: ShoppersSpec) -> None:
    log = simulate(spec)
    assert len(set(zip(log.user.tolist(), log.item.tolist(), strict=True))) == len(log.item)


def test_shared_accounts_hold_two_people_with_different_interests(log: Log) -> None:
    own, others, runs = [], [], []
    for rows in histories(log):
        second = log.noise[rows] == SHARED
        if not second.any():
            continue
        assert second.sum() < 0.5 * len(rows), "the second person should be the minority"
        categories = log.category[log.item[rows]]
        first = log.noise[rows] == GENUINE
        together = categories[:, None] == categories[first]
        own.extend((together[first].sum(axis=1) - 1) / max(first.sum() - 1, 1))
        others.extend(together[second].mean(axis=1))
        edges = np.flatnonzero(np.diff(np.concatenate([[0], second, [0]])))
        runs.extend(edges[1::2] - edges[::2])
    assert np.mean(own) > 4 * np.mean(others)
    assert 1.5 < np.mean(runs) < 5


def test_misclicks_do_not_fit_their_history(log: Log) -> None:
    fits: dict[int, list[float]] = {GENUINE: [], MISCLICK: []}
    for rows in histories(log):
        categories = log.category[log.item[rows]]
        together = (categories[:, None] == categories).sum(axis=1) - 1
        for kind, found in fits.items():
            found.extend(together[log.noise[rows] == kind] / (len(rows) - 1))
    assert np.mean(fits[GENUINE]) > 2 * np.mean(fits[MISCLICK])


def test_order_tells_what_comes_next_and_more_of_it_tells_more(log: Log) -> None:
    """Hit@10 over unseen items on everybody's last event, by counts alone."""
    items = [log.item[rows] for rows in histories(log)]
    size = len(log.item_ids)
    follows = np.zeros((size, size))
    for history in items:
        np.add.at(follows, (history[:-2], history[1:-1]), 1)
    popularity = np.bincount(np.concatenate([history[:-1] for history in items]), minlength=size)
    popularity = popularity / popularity.sum()
    chain = (follows + popularity) / (follows.sum(axis=1, keepdims=True) + 1)

    def hit_at_10(scores: NDArray[np.float64]) -> float:
        for row, history in zip(scores, items, strict=True):
            row[history[:-1]] = -1
        target = scores[np.arange(len(items)), [history[-1] for history in items]]
        return float(np.mean((scores > target[:, None]).sum(axis=1) < 10))

    def recent(back: int) -> NDArray[np.float64]:
        return chain[[history[-1 - back] for history in items]]

    by_popularity = hit_at_10(np.tile(popularity, (len(items), 1)))
    by_last = hit_at_10(recent(1))
    by_last_four = hit_at_10(recent(1) + 0.5 * recent(2) + 0.3 * recent(3) + 0.2 * recent(4))
    assert 0.04 < by_popularity < 0.12
    assert by_last > 2.5 * by_popularity
    assert by_last_four > 1.1 * by_last


def test_many_users_are_simulated_a_block_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shoppers, "BLOCK_CELLS", 25 * SMALL.items)
    log = simulate(SMALL)
    lengths = np.bincount(log.user, minlength=SMALL.users)
    assert len(lengths) == SMALL.users
    assert lengths.min() >= 5
    assert np.all(np.diff(log.time) >= np.timedelta64(0))
    openings = {tuple(log.item[rows[:4]]) for rows in histories(log)}
    assert len(openings) > 0.9 * SMALL.users, "blocks should not repeat each other"


def test_the_file_holds_the_log_for_any_reader(tmp_path: Path) -> None:
    path = generate(SMALL, tmp_path / "new" / "shoppers.parquet")
    assert path == tmp_path / "new" / "shoppers.parquet"
    assert [file.name for file in path.parent.iterdir()] == ["shoppers.parquet"]
    log = simulate(SMALL)
    relation = duckdb.read_parquet(str(path))
    assert dict(zip(relation.columns, map(str, relation.types), strict=True)) == {
        "user_id": "VARCHAR",
        "item_id": "VARCHAR",
        "time": "TIMESTAMP",
        "noise": "VARCHAR",
    }
    rows = relation.fetchall()
    assert [row[0] for row in rows] == [log.user_ids[user] for user in log.user]
    assert [row[1] for row in rows] == [log.item_ids[item] for item in log.item]
    assert [row[2] for row in rows] == log.time.tolist()
    assert [row[3] for row in rows] == [NOISE_KINDS[kind] for kind in log.noise]


def test_a_write_that_fails_leaves_the_old_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = generate(SMALLEST, tmp_path / "shoppers.parquet")
    before = path.read_bytes()

    def half_way(table: object, where: Path, **options: object) -> None:
        Path(where).write_bytes(b"PAR1")
        raise OSError("No space left on device")

    monkeypatch.setattr(pq, "write_table", half_way)
    with pytest.raises(OSError, match="No space left"):
        generate(SMALL, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
