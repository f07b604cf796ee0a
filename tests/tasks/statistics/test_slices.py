"""Parts of the targets."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from tasks.statistics.slices import (
    Bins,
    history_bins,
    noise_bins,
    noise_share,
    place,
    popularity_bins,
    sliced,
    tertile_edges,
)
from tests.tasks.statistics.panels import USERS, panel_of, rng


def test_values_on_an_edge_belong_above_it_and_undefined_ones_nowhere() -> None:
    assert place(np.array([0.0, 5.0, 9.9, 10.0, np.nan]), (5.0, 10.0)).tolist() == [0, 1, 1, 2, -1]


def test_every_slice_has_its_number_mean_interval_and_difference() -> None:
    panel = panel_of({"base": 0.0, "up": 0.05})
    history = np.arange(USERS, dtype=np.float64)
    history[0] = np.nan
    found = sliced(panel, history, history_bins((100, 1000)), reference="base", rng=rng())
    assert [part.label for part in found.slices] == ["under 100", "100 to under 1000", "1000 and over"]
    assert [part.targets for part in found.slices] == [99, 300, 0]
    assert found.unplaced == 1
    middle, last = found.slices[1:]
    assert middle.users == 300
    of_four = sliced(
        replace(panel, users=np.arange(USERS) // 4), history, history_bins((100, 1000)), reference="base", rng=rng()
    )
    assert (of_four.slices[1].targets, of_four.slices[1].users) == (300, 75)
    assert middle.means["up"].value == pytest.approx(panel.values["up"][:, 100:].mean())
    assert middle.differences["up"].value == pytest.approx((panel.values["up"] - panel.values["base"])[:, 100:].mean())
    assert middle.differences["up"].excludes(0.0)
    assert set(middle.differences) == {"up"}
    assert (last.users, last.means["up"].value, last.means["up"].n) == (0, None, 0)
    assert last.differences["up"].reason == "the slice has no targets"
    assert (last.low, last.high) == (1000, None)
    assert json.dumps(asdict(found), allow_nan=False)


def test_edges_rise_and_every_part_has_a_label() -> None:
    assert popularity_bins((5.0, 5.0)).labels[1] == "middle: 5 to under 5"
    with pytest.raises(ValueError, match="must rise"):
        history_bins((10, 5))
    with pytest.raises(ValueError, match="need 2 labels"):
        Bins("history", (1.0,), ("all",))


def test_tertiles_hold_a_third_each() -> None:
    values = rng().permutation(np.arange(300.0))
    assert np.bincount(place(values, tertile_edges(values))).tolist() == [100, 100, 100]


def test_head_and_tail_are_cut_by_interactions_and_not_by_items() -> None:
    popularity = np.array([60] + [12] * 5 + [2] * 30)
    of_targets = np.repeat(popularity, popularity).astype(float)  # a target for each interaction
    edges = tertile_edges(of_targets)
    assert np.bincount(place(of_targets, edges)).tolist() == [60, 60, 60]
    assert np.bincount(place(popularity.astype(float), edges)).tolist() == [30, 5, 1]  # items
    assert popularity_bins(edges).labels == ("tail: under 12", "middle: 12 to under 60", "head: 60 and over")
    with pytest.raises(ValueError, match="to part in three"):
        tertile_edges(np.array([np.nan]))


def test_the_share_of_noise_is_of_what_came_before_the_target() -> None:
    users = np.array([0, 0, 0, 2, 2, 2, 2])
    noisy = np.array([True, False, True, False, False, True, True])
    found = noise_share(users, noisy, target_users=np.array([2, 0, 0, 2]), histories=np.array([3, 0, 2, 2]))
    np.testing.assert_allclose(found, [1 / 3, np.nan, 0.5, 0.0])
    assert place(found, noise_bins().edges).tolist() == [3, -1, 3, 0]
    assert noise_bins().labels == ("none", "under 10 %", "10 % to under 25 %", "25 % and over")
    with pytest.raises(ValueError, match="user 0 has fewer"):
        noise_share(users, noisy, target_users=np.array([0]), histories=np.array([4]))
