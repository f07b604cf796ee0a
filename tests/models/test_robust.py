"""Robust losses against their formulas."""

import math
from collections import Counter

import pytest
import torch
from torch.nn.functional import softplus

from models.catalogue import ROBUST
from models.config import ModelConfig
from models.denoising.robust import InversePropensity, Robust, Truncated
from models.engine.sequences import training_part
from tests.models.builders import planted_log

LOSSES = [0.05, 0.4, 1.0, 3.0]
ANY_ITEMS = torch.zeros(0, dtype=torch.int64)
"""Targets of losses that do not look at them."""


def robust(name: str, power: float) -> Robust:
    return ROBUST[name](ModelConfig(robust_power=power))


def test_truncation_leaves_out_the_largest_and_rises_to_its_share() -> None:
    truncated = Truncated(share=0.5, ramp=10)
    losses = torch.tensor([0.1, 5.0, 0.2, 3.0, 0.3, 0.4, 4.0, 0.5], requires_grad=True)
    assert truncated(losses, targets=ANY_ITEMS, step=0)[1] is None
    halfway = truncated(losses, targets=ANY_ITEMS, step=5)[1]
    assert halfway is not None
    assert halfway.tolist() == [1, 0, 1, 1, 1, 1, 0, 1]
    for step in (10, 500):
        same, weights = truncated(losses, targets=ANY_ITEMS, step=step)
        assert same is losses
        assert weights is not None
        assert weights.tolist() == [1, 0, 1, 0, 1, 1, 0, 0]


@pytest.mark.parametrize("power", [0.2, 0.7, 1.0])
def test_values_and_gradients_are_those_of_the_formulas(power: float) -> None:
    """Gradients by the loss, from each formula's derivative with p = exp(−L), dp/dL = −p."""
    for loss in LOSSES:
        p = math.exp(-loss)
        expected = {
            "reweighted": (loss * p**power, p**power),
            "generalised": ((1 - p**power) / power, p**power),
            "symmetric": (loss + power * math.log(1e4) * (1 - p), 1 + power * math.log(1e4) * p),
        }
        for name, (value, slope) in expected.items():
            given = torch.tensor([loss], dtype=torch.float64, requires_grad=True)
            losses, weights = robust(name, power)(given, targets=ANY_ITEMS, step=0)
            assert weights is None
            assert float(losses.detach()) == pytest.approx(value, rel=1e-6), name
            (gradient,) = torch.autograd.grad(losses.sum(), given)
            assert float(gradient) == pytest.approx(slope, rel=1e-5, abs=1e-9), name


@pytest.mark.parametrize("power", [0.2, 0.7, 1.0])
def test_bootstrapping_is_cross_entropy_and_minimum_entropy(power: float) -> None:
    """Of a model of two items, whose belief in the target has the logit z: L = log(1 + e^−z), and the entropy falls
    with z by z · p (1 − p). Where the model is sure the loss pulls harder than cross-entropy, where it doubts less.
    """
    logits = torch.tensor([-4.0, -1.5, 0.0, 1.5, 4.0, 8.0], dtype=torch.float64, requires_grad=True)
    losses, weights = robust("bootstrapped", power)(softplus(-logits), targets=ANY_ITEMS, step=0)
    assert weights is None
    (slopes,) = torch.autograd.grad(losses.sum(), logits)
    for z, value, slope in zip(logits.tolist(), losses.tolist(), slopes.tolist(), strict=True):
        p = 1 / (1 + math.exp(-z))
        entropy = -p * math.log(p) - (1 - p) * math.log(1 - p)
        assert value == pytest.approx(-(1 - power) * math.log(p) + power * entropy, rel=1e-9)
        assert slope == pytest.approx(-(1 - power) * (1 - p) - power * z * p * (1 - p), rel=1e-9, abs=1e-12)

    given = torch.tensor(LOSSES, dtype=torch.float64, requires_grad=True)
    (by_loss,) = torch.autograd.grad(robust("bootstrapped", power)(given, targets=ANY_ITEMS, step=0)[0].sum(), given)
    assert float(by_loss.max() - by_loss.min()) > power
    assert float(by_loss[0]) > 1 > float(by_loss[-1])


@pytest.mark.parametrize("name", ["reweighted", "generalised", "symmetric", "bootstrapped"])
def test_extreme_losses_stay_numbers(name: str) -> None:
    losses = torch.tensor([0.0, 1e-12, 80.0, 500.0], requires_grad=True)
    changed, _ = robust(name, 0.5)(losses, targets=ANY_ITEMS, step=0)
    changed.sum().backward()
    assert losses.grad is not None
    assert bool(torch.isfinite(torch.cat([changed, losses.grad])).all())


@pytest.mark.parametrize(("power", "floor"), [(1.0, 0.01), (0.5, 0.3)])
def test_a_target_weighs_the_more_the_less_its_item_was_seen_up_to_the_floor(power: float, floor: float) -> None:
    log, _ = planted_log(kind="uniform", share=0.2)
    counts = Counter(log.sequences.items[training_part(log.sequences)].tolist())
    most, shown = max(counts.values()), list(counts)
    ips = InversePropensity(power=power, floor=floor)
    ips.prepare(log.sequences)
    losses = torch.rand(len(shown))
    same, weights = ips(losses, targets=torch.tensor(shown), step=0)
    assert same is losses
    assert weights is not None
    expected = [1 / max((counts[item] / most) ** power, floor) for item in shown]
    assert weights.tolist() == pytest.approx(expected, rel=1e-6)
    assert 1 == min(expected) < max(expected) <= 1 / floor
    log.sequences.items[log.sequences.items == shown[0]] = shown[1]
    ips.prepare(log.sequences)
    _, of_unseen = ips(losses[:1], targets=torch.tensor(shown[:1]), step=0)
    assert of_unseen is not None
    assert float(of_unseen) == pytest.approx(1 / floor)
