"""Retention and gap closed."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import scipy.stats

from tasks.statistics.bootstrap import cluster, resample
from tasks.statistics.crossed import (
    SeedSpread,
    interval_over_both,
)
from tasks.statistics.estimates import difference
from tasks.statistics.panel import align
from tasks.statistics.relative import gaps_closed, retentions
from tests.tasks.statistics.panels import USERS, panel_of, rng, training


def test_retention_comes_with_both_values_and_intervals() -> None:
    panel = panel_of({"a at 0 %": 0.0, "a at 20 %": -0.1})
    (found,) = retentions(panel, {"a at 20 %": "a at 0 %"}, rng=rng())
    kept, base = panel.values["a at 20 %"].mean(), panel.values["a at 0 %"].mean()
    assert (found.value.value, found.base.value) == pytest.approx((kept, base))
    assert found.share.value == pytest.approx(kept / base)
    assert found.share.low is not None
    assert found.share.high is not None
    assert found.share.low < 0.8 < found.share.high
    assert found.share_over_seeds.value == pytest.approx(kept / base)
    assert found.share_over_seeds.excludes(0.0)


def test_gap_closed_where_there_is_a_gap() -> None:
    panel = panel_of({"noisy": 0.0, "denoised": 0.06, "oracle": 0.1, "worse": -0.05})
    half, worse = gaps_closed(panel, ["denoised", "worse"], noisy="noisy", oracle="oracle", rng=rng())
    noisy, denoised, oracle = (panel.values[name].mean() for name in ("noisy", "denoised", "oracle"))
    assert (half.value.value, half.gap.value) == pytest.approx((denoised, oracle - noisy))
    assert half.share.value == pytest.approx(0.6, abs=0.1)
    assert not half.share.excludes(0.6)
    assert half.share.excludes(0.0)
    assert half.share.excludes(1.0)
    assert half.share_over_seeds.value == pytest.approx(half.share.value)
    assert worse.share.value is not None
    assert worse.share.value < 0.0
    assert json.dumps(asdict(half), allow_nan=False)


def test_shares_count_what_other_seeds_would_change() -> None:
    """Against the delta method: the share's own derivatives by the means, times what a seed moves each mean."""
    users, seeds = 1000, {"noisy": 2, "denoised": 3, "oracle": 4}
    means = {"noisy": 0.2, "denoised": 0.26, "oracle": 0.3}
    panel = align(
        training(name, seed, np.full(users, mean) + rng(seed).normal(0, 0.001, users))
        for name, mean in means.items()
        for seed in range(seeds[name])
    )
    spread = {name: SeedSpread(largest=0.002**2, rest=0.0, degrees=1e9) for name in means}
    kept = retentions(panel, {"denoised": "oracle"}, rng=rng(), spread=spread, resamples=4_000)[0]
    closed = gaps_closed(
        panel, ["denoised"], noisy="noisy", oracle="oracle", rng=rng(), spread=spread, resamples=4_000
    )[0]
    slopes = {
        kept.shown: {"denoised": 1 / 0.3, "oracle": -0.26 / 0.3**2},
        closed.shown: {"denoised": 1 / 0.1, "noisy": (0.26 - 0.3) / 0.1**2, "oracle": -0.06 / 0.1**2},
    }
    for shown, slope in slopes.items():
        assert shown.low is not None
        assert shown.high is not None
        error = sum((each * 0.002) ** 2 / seeds[name] for name, each in slope.items()) ** 0.5
        assert (shown.high - shown.low) / 2 == pytest.approx(1.96 * error, rel=0.05)
        assert shown.basis == "percentile bootstrap over users and seeds"
    assert kept.share.high is not None
    assert kept.share.high - kept.share.value < 0.1 * (kept.shown.high - kept.shown.value)


def test_two_means_whose_spread_over_seeds_is_little_known_differ_by_students_t() -> None:
    """What is not known of the spread is not known of both alike: the difference has their degrees of freedom."""
    draw = rng(18)
    sample = cluster(draw.normal(0.3, 1e-4, (20, 2)), np.arange(20))
    resampled = resample(sample, rng=draw, resamples=200_000)
    arms = [(runs, SeedSpread(largest=runs * 0.02**2, rest=0.0, degrees=1.0)) for runs in (2, 5)]
    found = interval_over_both(resampled, difference(1, 0), arms, rng=draw)
    assert found.low is not None
    assert found.high is not None
    margin = scipy.stats.t.ppf(0.975, 1) * 2**0.5 * 0.02
    assert (-found.low, found.high) == pytest.approx((margin, margin), rel=0.06)


def test_a_gap_that_other_seeds_may_undo_is_not_shown() -> None:
    panel = panel_of({"noisy": 0.0, "denoised": 0.06, "oracle": 0.1})
    spread = {name: SeedSpread(largest=0.1**2, rest=0.0, degrees=3.0) for name in panel.methods}
    (found,) = gaps_closed(panel, ["denoised"], noisy="noisy", oracle="oracle", rng=rng(), spread=spread)
    assert found.shown.value is None
    assert "within 2 standard errors" in str(found.shown.reason)


@pytest.mark.parametrize(("shift", "reason"), [(0.0, "within 2 standard errors"), (-0.1, "below the noisy training")])
def test_gap_closed_is_not_shown_where_there_is_none(shift: float, reason: str) -> None:
    panel = panel_of({"noisy": 0.0, "denoised": 0.06, "oracle": shift})
    (found,) = gaps_closed(panel, ["denoised"], noisy="noisy", oracle="oracle", rng=rng())
    for hidden in (found.share, found.share_over_seeds):
        assert hidden.value is None
        assert reason in str(hidden.reason)
    assert found.value.value is not None


def test_two_standard_errors_are_where_the_gap_begins_to_be_shown() -> None:
    noise = rng().normal(size=100)
    noise = (noise - noise.mean()) / noise.std(ddof=1)  # a standard error of 0.1
    for gap, shown in ((0.19, False), (0.21, True)):
        panel = align([training("noisy", 0, np.ones(100)), training("oracle", 0, 1 + gap + noise)])
        (found,) = gaps_closed(panel, ["noisy"], noisy="noisy", oracle="oracle", rng=rng())
        assert (found.share.value == 0.0) is shown
        assert (found.share.value is None) is not shown


def test_a_gap_that_the_seeds_do_not_agree_on_is_not_shown() -> None:
    level = rng().random(USERS)
    panel = align(
        training(method, run, level * (1 + shift))
        for method, shifts in {"noisy": (0.0, 0.0), "oracle": (0.3, -0.1)}.items()
        for run, shift in enumerate(shifts)
    )
    (found,) = gaps_closed(panel, ["noisy"], noisy="noisy", oracle="oracle", rng=rng())
    assert "standard errors" in str(found.share.reason)
