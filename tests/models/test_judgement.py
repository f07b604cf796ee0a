"""What evidence says of an event, and how much of a log is noise."""

import math

import pytest
import torch
from torch import Tensor

from models.denoising.noise.judgement import (
    RIDGE,
    Judgement,
    logistic_regression,
    share_of_noise,
    shares_of_noise,
)


def test_logistic_regression_of_one_yes_or_no_is_the_log_odds_ratio() -> None:
    column = torch.tensor([1.0] * 60 + [0.0] * 40, dtype=torch.float64)
    labels = torch.tensor([1.0] * 45 + [0.0] * 15 + [1.0] * 10 + [0.0] * 30, dtype=torch.float64)
    weights = logistic_regression(torch.stack([torch.ones_like(column), column], dim=1), labels)
    assert float(weights[0]) == pytest.approx(math.log(10 / 30), abs=0.03)
    assert float(weights.sum()) == pytest.approx(math.log(45 / 15), abs=0.03)


def test_logistic_regression_finds_the_optimum_where_evidence_lies_far_out() -> None:
    """A whole step of Newton's method overshoots there, each time further: few events are unlike all others, and one
    of two columns nearly separates them.
    """
    genuine, noisy = [840, 1, 1, 8, 130], [0, 16, 0, 0, 7]
    evidence = torch.tensor(
        [[-0.011, -0.005], [0.505, -1.326], [1.955, 2.026], [-24.235, 5.546], [1.048, 0.679]], dtype=torch.float64
    )
    kinds = torch.arange(5).repeat(2).repeat_interleave(torch.tensor([*genuine, *noisy]))
    labels = torch.cat([torch.zeros(sum(genuine)), torch.ones(sum(noisy))]).double()
    columns = evidence[kinds]
    design = torch.cat([torch.ones(len(kinds), 1).double(), (columns - columns.mean(0)) / columns.std(0)], dim=1)

    def objective(weights: Tensor) -> Tensor:
        likely = torch.nn.functional.binary_cross_entropy_with_logits(design @ weights, labels)
        return likely + RIDGE / 2 * weights @ weights

    weights = logistic_regression(design, labels).requires_grad_()
    (slope,) = torch.autograd.grad(objective(weights), weights)
    assert float(slope.abs().max()) < 1e-8


def test_a_judgement_is_a_number_where_an_event_is_noise_for_certain() -> None:
    """Also by a kind of which the log has none, whose odds would be infinite."""
    judgement = Judgement(1, kinds=2)
    judgement.weights[1] = torch.tensor([500.0, 0.1])
    judgement.shares.copy_(torch.tensor([0.0, 0.5]))
    assert judgement.keep(torch.tensor([[0.0], [1.0]])).tolist() == pytest.approx([0.5, 1 - 0.5 * math.exp(0.1)])
    judgement.shares.copy_(torch.tensor([1e-6, 0.5]))
    assert judgement.keep(torch.tensor([[1.0]])).tolist() == [0.0]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4])
def test_the_share_of_noise_is_that_of_a_mixture_whose_parts_are_apart(share: float) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(60_000, generator=generator) + 4
    genuine = torch.randn(60_000, generator=generator)
    own = torch.randn(60_000, generator=generator) + 4
    log = torch.cat([genuine[: int(60_000 * (1 - share))], own[: int(60_000 * share)]])
    alone = torch.ones(1)
    assert float(share_of_noise(log, [noise], alone)) == pytest.approx(share, abs=0.015)
    assert float(share_of_noise(log, [noise], alone, [(torch.tensor(share), own)])) == pytest.approx(0.0, abs=0.015)


def test_what_looks_like_noise_of_two_kinds_counts_once() -> None:
    """Half of either kind looks like one half of the other, and so does a tenth of the log, which has none of the rest:
    no more than that tenth can be noise, although it would admit as much of the one and half as much of the other.
    """
    generator = torch.Generator().manual_seed(0)
    only_one, only_other, both, neither = torch.tensor([[2.0, -4.0], [-4.0, 2.0], [2.0, 2.0], [-4.0, -4.0]])
    half = [row.expand(10_000, 2) for row in (only_one, only_other, both)]
    planted = [torch.cat([half[kind], half[2]]) + 0.01 * torch.rand(20_000, 2, generator=generator) for kind in (0, 1)]
    log = torch.cat([both.expand(2_000, 2), neither.expand(18_000, 2)]) + 0.01 * torch.rand(
        20_000, 2, generator=generator
    )
    assert shares_of_noise(log, planted).tolist() == pytest.approx([0.2 / 3, 0.1 / 3], abs=0.002)
