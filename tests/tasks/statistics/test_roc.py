"""The area under an ROC curve and its interval beside scipy, DeLong's formula, and cases with known answers."""

from itertools import product

import numpy as np
import pytest
from scipy import special, stats

from tasks.statistics import roc


def made(seed: int, *, count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Labels and suspicions with many ties."""
    draw = np.random.default_rng(seed)
    noisy = draw.random(count) < 0.25
    return noisy, np.round(draw.normal(0.0, 1.0, count) + noisy, 1)


def test_the_area_is_mann_and_whitneys_and_its_variance_delongs() -> None:
    noisy, suspicion = made(1)
    found = roc.auroc(noisy, suspicion, np.arange(len(noisy)))
    x, y = suspicion[noisy], suspicion[~noisy]
    assert found.value == pytest.approx(stats.mannwhitneyu(x, y).statistic / (len(x) * len(y)))
    pairs = np.array([[(a > b) + 0.5 * (a == b) for b in y] for a in x])
    of_x, of_y = pairs.mean(1).var(ddof=1) / len(x), pairs.mean(0).var(ddof=1) / len(y)
    area, variance = pairs.mean(), of_x + of_y
    welch = variance**2 / (of_x**2 / (len(x) - 1) + of_y**2 / (len(y) - 1))
    margin = stats.t.ppf(0.975, welch) * variance**0.5 / (area * (1 - area))
    assert (found.low, found.high) == pytest.approx(
        tuple(special.expit(special.logit(area) + s * margin) for s in (-1, 1))
    )


def test_saying_everything_twice_says_nothing_new() -> None:
    """A user's interactions are taken together: copies of each, by the same user, make no interval narrower."""
    noisy, suspicion = made(2)
    users = np.random.default_rng(3).integers(0, 60, len(noisy))
    once = roc.auroc(noisy, suspicion, users)
    thrice = roc.auroc(np.repeat(noisy, 3), np.repeat(suspicion, 3), np.repeat(users, 3))
    assert (thrice.value, thrice.low, thrice.high) == pytest.approx((once.value, once.low, once.high))


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Users differ in how easily their noise is told and in how odd all they do is; the truth is from a large draw."""

    def draw(rng: np.random.Generator, users: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        user = np.repeat(np.arange(users), 12)
        noisy = rng.random(len(user)) < 0.3
        odd, told = rng.normal(0.0, 1.0, users)[user], rng.normal(1.2, 0.8, users)[user]
        return noisy, odd + told * noisy + rng.normal(0.0, 1.0, len(user)), user

    truth = roc.auroc(*draw(np.random.default_rng(0), 20_000)).value
    assert truth is not None
    clustered, alone = 0, 0
    for seed in range(250):
        noisy, suspicion, user = draw(np.random.default_rng(1000 + seed), 80)
        clustered += not roc.auroc(noisy, suspicion, user).excludes(truth)
        alone += not roc.auroc(noisy, suspicion, np.arange(len(user))).excludes(truth)
    assert 0.91 < clustered / 250 < 0.985
    assert alone / 250 < 0.9  # each interaction for itself promises too much


def test_a_few_users_with_all_the_noise_say_little_of_others_like_them() -> None:
    """Bots have all the noise and nothing else: however many other users there are, they do not stand for more bots."""

    def draw(rng: np.random.Generator, bots: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        user = np.repeat(np.arange(bots + 100), 10)
        noisy = user < bots
        odd = rng.normal(0.0, 0.5, bots + 100)[user]
        return noisy, odd + noisy + rng.normal(0.0, 1.0, len(user)), user

    truth = stats.norm.cdf(1.0 / np.sqrt(2.0 * (1.0 + 0.25)))
    held = sum(not roc.auroc(*draw(np.random.default_rng(seed), 5)).excludes(truth) for seed in range(300))
    assert stats.binom.ppf(0.0005, 300, 0.95) <= held
    alone = roc.auroc(*draw(np.random.default_rng(0), 1))
    assert alone.value is not None
    assert alone.low is None
    assert alone.reason == "all the noise is of one user, who has no spread; two are needed"


def test_perfect_and_empty_suspicions() -> None:
    noisy = np.array([True, True, False, False, False])
    users = np.arange(5)
    perfect = roc.auroc(noisy, np.array([5.0, 4.0, 3.0, 2.0, 1.0]), users)
    assert (perfect.value, perfect.low) == (1.0, None)
    assert roc.average_precision(noisy, np.array([5.0, 4.0, 3.0, 2.0, 1.0])) == 1.0
    assert roc.auroc(noisy, np.zeros(5), users).value == 0.5
    assert roc.average_precision(noisy, np.zeros(5)) == pytest.approx(0.4)  # the share of noise
    assert roc.auroc(noisy, noisy.astype(float), np.zeros(5, dtype=int)).reason is not None
    for measure in (roc.average_precision, lambda a, b: roc.auroc(a, b, users), lambda a, b: roc.curve(a, b, points=5)):
        with pytest.raises(ValueError, match="some that are not"):
            measure(np.ones(5, dtype=bool), np.zeros(5))


def test_average_precision_and_what_is_flagged_by_hand() -> None:
    noisy = np.array([True, False, True, False, True])
    suspicion = np.array([9.0, 8.0, 7.0, 7.0, 1.0])
    # Thresholds 9, 8, 7, 1 flag 1, 2, 4, 5 and catch 1, 1, 2, 3 of three.
    assert roc.average_precision(noisy, suspicion) == pytest.approx((1 * 1 / 1 + 1 * 2 / 4 + 1 * 3 / 5) / 3)
    assert roc.flagged(suspicion, 3).tolist() == [1.0, 1.0, 0.5, 0.5, 0.0]
    for count in range(1, 6):
        assert roc.flagged(suspicion, count).sum() == count


def test_a_thinned_curve_lies_on_the_whole_one() -> None:
    noisy, suspicion = made(4, count=5000)
    suspicion = suspicion + np.random.default_rng(5).normal(0.0, 0.01, 5000)
    thin, whole = roc.curve(noisy, suspicion, points=50), roc.curve(noisy, suspicion, points=10**6)
    assert len(thin.false_positive) <= 50
    corners = set(zip(whole.false_positive, whole.true_positive, strict=True))
    assert set(zip(thin.false_positive, thin.true_positive, strict=True)) <= corners
    assert {(0.0, 0.0), (1.0, 1.0)} <= set(zip(thin.false_positive, thin.true_positive, strict=True))
    area = np.trapezoid(whole.true_positive, whole.false_positive)
    flags = list(product(suspicion[noisy][:200], suspicion[~noisy][:200]))
    assert area == pytest.approx(roc.auroc(noisy, suspicion, np.arange(5000)).value)
    assert area == pytest.approx(np.mean([a > b for a, b in flags]), abs=0.05)
    assert np.trapezoid(thin.true_positive, thin.false_positive) == pytest.approx(area, abs=2e-3)
