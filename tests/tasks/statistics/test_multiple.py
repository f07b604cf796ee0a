"""Holm's adjustment."""

import itertools
import math

import numpy as np
import pytest

from tasks.statistics.multiple import holm


def test_holm_by_hand_in_the_order_given() -> None:
    """Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1 is 0.02, 0.03, 0.06, 0.04; the last may not fall below 0.06."""
    adjusted = holm([0.01, 0.04, None, 0.03, 0.005])
    assert [None if entry is None else round(entry.p, 12) for entry in adjusted] == [0.03, 0.06, None, 0.06, 0.02]
    assert [entry and entry.significant for entry in adjusted] == [True, False, None, False, True]
    assert {entry.comparisons for entry in adjusted if entry} == {4}


def test_holm_is_its_definition_on_random_tables() -> None:
    rng = np.random.default_rng(12)
    for size in (1, 2, 7, 20):
        p_values = np.round(rng.random(size) ** 3, 2)  # with ties
        adjusted = [entry.p for entry in holm(list(p_values)) if entry]
        # The definition as a double loop: the largest of what each p that is no larger was raised to.
        order = sorted(range(size), key=lambda index: p_values[index])
        raised = {place: min(1.0, (size - step) * p_values[place]) for step, place in enumerate(order)}
        for step, place in enumerate(order):
            assert adjusted[place] == pytest.approx(max(raised[earlier] for earlier in order[: step + 1]))
        for first, second in itertools.combinations(range(size), 2):
            if p_values[first] == p_values[second]:
                assert adjusted[first] == pytest.approx(adjusted[second])


def test_holm_with_nothing_to_adjust() -> None:
    assert holm([]) == []
    assert holm([None, None]) == [None, None]
    assert [entry and entry.p for entry in holm([None, 0.2])] == [None, 0.2]
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([1.2])
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([math.nan])
