"""Schedules against closed forms, the posterior against Bayes' rule, and the chain in one step against its steps."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from models.networks.diffusion import SCHEDULES, Diffusion, linear_variance, reverse_chain

STEPS = (1, 2, 7, 500, 2000)


def chain(betas: Tensor) -> list[float]:
    """ᾱ after each step, one product after another."""
    kept = [1.0]
    for beta in betas.tolist():
        kept.append(kept[-1] * (1 - beta))
    return kept[1:]


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_only_ever_takes_away(name: str, steps: int) -> None:
    diffusion = Diffusion(SCHEDULES[name](steps))
    assert diffusion.kept.dtype == torch.float64
    assert diffusion.kept.tolist() == pytest.approx(chain(diffusion.betas), rel=1e-12)
    falling = [1.0, *diffusion.kept.tolist()]
    assert len(falling) == steps + 1
    assert all(0 < later < earlier for earlier, later in pairwise(falling))


def test_the_linear_schedule_rises_from_a_ten_thousandth_to_a_fiftieth() -> None:
    betas = SCHEDULES["linear"](500).tolist()
    assert betas == pytest.approx([0.0001 + step * 0.0199 / 499 for step in range(500)], rel=1e-12)
    assert math.prod(1 - beta for beta in betas) == pytest.approx(0.00635, rel=1e-2)


def test_the_cosine_schedule_is_a_squared_cosine_up_to_its_last_steps() -> None:
    def level(moment: float) -> float:
        return math.cos((moment + 0.008) / 1.008 * math.pi / 2) ** 2

    diffusion = Diffusion(SCHEDULES["cosine"](2000))
    expected = [level((step + 1) / 2000) / level(0) for step in range(1999)]
    # The first steps are so small that they are held at the least β.
    assert diffusion.kept[200:1999].tolist() == pytest.approx(expected[200:], rel=2e-2)
    unclipped = Diffusion(SCHEDULES["cosine"](50))
    assert unclipped.kept[:49].tolist() == pytest.approx([level((step + 1) / 50) / level(0) for step in range(49)])
    assert float(unclipped.betas[-1]) == 0.9999
    assert float(diffusion.betas.min()) == 0.0001


@pytest.mark.parametrize("steps", [2, 7, 500])
def test_the_exponential_schedule_has_a_closed_form(steps: int) -> None:
    """Of numbers from 1 to 2T + 1 in equal steps, the first n + 1 add up to (n + 1) (1 + n T / (T − 1))."""
    kept = Diffusion(SCHEDULES["exponential"](steps)).kept.tolist()
    expected = []
    for step in range(steps):
        numbers = (step + 1) * (1 + step * steps / (steps - 1))
        expected.append(math.exp(-0.1 * (step + 1) / steps - numbers * 0.5 * (10 - 0.1) / steps**2))
    assert kept == pytest.approx(expected, rel=1e-12)
    assert kept[-1] == pytest.approx(math.exp(-0.1 - 4.95 * (steps + 1) / steps), rel=1e-12)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize(("scale", "least", "most"), [(0.1, 0.001, 0.01), (1e-4, 5e-4, 5e-3), (1.0, 0.3, 0.3)])
def test_the_variance_of_the_noise_rises_in_equal_steps(steps: int, scale: float, least: float, most: float) -> None:
    diffusion = Diffusion(linear_variance(steps, scale=scale, least=least, most=most))
    rises = [scale * (least + step / max(1, steps - 1) * (most - least)) for step in range(steps)]
    assert (1 - diffusion.kept).tolist() == pytest.approx(rises, rel=1e-6)
    ratios = [(1 - variance) / variance for variance in rises]
    assert diffusion.signal_to_noise.tolist() == pytest.approx(ratios, rel=1e-6)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_posterior_is_what_bayes_rule_gives(name: str) -> None:
    """q(x_{t−1} | x_t, x_0) ∝ q(x_t | x_{t−1}) q(x_{t−1} | x_0): precisions add up."""
    diffusion = Diffusion(SCHEDULES[name](50))
    kept = chain(diffusion.betas)
    assert (float(diffusion.of_start[0]), float(diffusion.of_noisy[0])) == pytest.approx((1.0, 0.0))
    assert float(diffusion.variances[0]) == 0.0
    for step in range(1, 50):
        beta, before = float(diffusion.betas[step]), kept[step - 1]
        variance = 1 / ((1 - beta) / beta + 1 / (1 - before))
        assert float(diffusion.variances[step]) == pytest.approx(variance)
        assert float(diffusion.of_noisy[step]) == pytest.approx(variance * math.sqrt(1 - beta) / beta)
        assert float(diffusion.of_start[step]) == pytest.approx(variance * math.sqrt(before) / (1 - before))


@pytest.mark.parametrize(("name", "steps"), [("linear", 500), ("exponential", 500), ("cosine", 2000), ("cosine", 1)])
def test_the_chain_in_one_step_is_the_chain_step_by_step(name: str, steps: int) -> None:
    """Mean and covariance, carried from x_T downwards."""
    diffusion = Diffusion(SCHEDULES[name](steps))
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    weights, of_condition, constants, condition = drawn(6, 6) * 0.4, drawn(6, 5), drawn(steps, 6), drawn(5)
    mean, covariance = torch.zeros(6, dtype=torch.float64), torch.eye(6, dtype=torch.float64)
    for step in reversed(range(steps)):
        start, noisy = diffusion.of_start[step], diffusion.of_noisy[step]
        mean = start * (weights @ mean + of_condition @ condition + constants[step]) + noisy * mean
        one = start * weights + noisy * torch.eye(6, dtype=torch.float64)
        covariance = one @ covariance @ one.T + diffusion.variances[step] * torch.eye(6, dtype=torch.float64)
    found = reverse_chain(diffusion, of_noisy=weights, of_condition=of_condition, constants=constants)
    torch.testing.assert_close(found.of_condition @ condition + found.constant, mean, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found.covariance, covariance, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.root @ found.root, covariance, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.root, found.root.T)
