"""Objectives against their formulas."""

import math

import pytest
import torch
from torch import Tensor

from models.catalogue import LOSSES
from models.config import ModelConfig
from models.engine.losses import (
    BayesianPersonalisedRanking,
    BinaryCrossEntropy,
    BprMax,
    FullSoftmax,
    GeneralisedBinaryCrossEntropy,
    Objective,
    SampledSoftmax,
    SharedGeneralisedBinaryCrossEntropy,
    in_one_piece,
)


def test_every_loss_goes_by_its_name_with_the_negatives_that_are_asked_for() -> None:
    config = ModelConfig(negatives=7, gbce_t=0.3, bpr_max_penalty=0.4)
    assert {name: make(config) for name, make in LOSSES.items()} == {
        "bce": BinaryCrossEntropy(negatives=7),
        "bpr": BayesianPersonalisedRanking(negatives=7),
        "bpr-max": BprMax(negatives=7, penalty=0.4),
        "softmax": FullSoftmax(),
        "sampled-softmax": SampledSoftmax(negatives=7),
        "gbce": GeneralisedBinaryCrossEntropy(negatives=7, t=0.3),
        "gbce-shared": SharedGeneralisedBinaryCrossEntropy(negatives=7, t=0.3),
    }


def test_binary_cross_entropy_is_the_papers_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden, table = torch.randn(3, 4, generator=generator), torch.randn(6, 4, generator=generator)
    targets, negatives = torch.tensor([1, 5, 2]), torch.tensor([[2, 3], [1, 1], [4, 5]])
    losses = BinaryCrossEntropy(negatives=2)(hidden, table, targets, negatives)
    for row in range(3):
        positive = float(hidden[row] @ table[targets[row]])
        others = [float(hidden[row] @ table[item]) for item in negatives[row]]
        expected = math.log1p(math.exp(-positive)) + sum(math.log1p(math.exp(other)) for other in others)
        assert float(losses[row]) == pytest.approx(expected, rel=1e-5)


def test_full_softmax_leaves_padding_out() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden, table = torch.randn(2, 4, generator=generator), torch.randn(5, 4, generator=generator)
    losses = FullSoftmax()(hidden, table, torch.tensor([4, 1]), None)
    table[0] = 1e6
    assert torch.equal(losses, FullSoftmax()(hidden, table, torch.tensor([4, 1]), None))
    scores = hidden[0] @ table[1:].T
    assert float(losses[0]) == pytest.approx(float(scores.logsumexp(0) - scores[3]), rel=1e-5)


def test_in_one_piece_full_softmax_is_the_same_and_a_cell_without_an_event_costs_nothing() -> None:
    hidden, table, targets = drawn(5, 7)
    whole = in_one_piece(hidden, table, torch.cat([targets[:4], torch.tensor([0])]))
    assert_same(whole[:4], FullSoftmax()(hidden[:4], table, targets[:4], None), [hidden, table])
    assert float(whole[4].detach()) == 0.0


def drawn(positions: int, items: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(positions, 4, generator=generator, requires_grad=True)
    table = torch.randn(items + 1, 4, generator=generator, requires_grad=True)
    return hidden, table, torch.randint(1, items + 1, (positions,), generator=generator)


def assert_same(ours: Tensor, plain: Tensor, leaves: list[Tensor]) -> None:
    """Values and gradients agree."""
    torch.testing.assert_close(ours, plain.to(ours.dtype), rtol=1e-5, atol=1e-6)
    for one, other in zip(
        torch.autograd.grad(ours.sum(), leaves), torch.autograd.grad(plain.sum(), leaves), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_bpr_is_the_papers_formula_averaged_over_negatives() -> None:
    hidden, table, targets = drawn(3, 6)
    negatives = torch.tensor([[2, 3], [1, 1], [4, 5]])
    plain = []
    for row, target in enumerate(targets):
        margins = [hidden[row] @ (table[target] - table[item]) for item in negatives[row]]
        plain.append(-(torch.sigmoid(margins[0]).log() + torch.sigmoid(margins[1]).log()) / 2)
    objective = BayesianPersonalisedRanking(negatives=2)
    assert_same(objective(hidden, table, targets, negatives), torch.stack(plain), [hidden, table])


def test_bpr_max_is_the_papers_formula_less_the_draws_of_the_target_itself() -> None:
    hidden, table, targets = drawn(4, 9)
    negatives = torch.tensor([int(targets[0]), 1, 2, 3, 3])
    losses = BprMax(negatives=5, penalty=0.5)(hidden, table, targets, negatives)
    for row, target in enumerate(targets.tolist()):
        own = float((hidden[row] @ table[target]).detach())
        others = [float((hidden[row] @ table[item]).detach()) for item in negatives.tolist() if item != target]
        total = sum(math.exp(other) for other in others)
        shares = [math.exp(other) / total for other in others]
        overtaken = sum(s / (1 + math.exp(other - own)) for s, other in zip(shares, others, strict=True))
        squares = sum(s * other**2 for s, other in zip(shares, others, strict=True))
        assert float(losses[row].detach()) == pytest.approx(-math.log(overtaken) + 0.5 * squares, rel=1e-4)


def test_bpr_max_costs_nothing_where_no_other_item_is_drawn() -> None:
    hidden, table, targets = drawn(3, 9)
    hidden.requires_grad_(True)
    losses = BprMax(negatives=2)(hidden, table, targets, targets[:1].expand(2))
    losses.sum().backward()
    assert float(losses[0].detach()) == 0.0
    assert hidden.grad is not None
    assert not hidden.grad[0].any()
    assert bool(hidden.grad[1:].isfinite().all())


def test_sampled_softmax_is_the_formula_with_logq() -> None:
    hidden, table, targets = drawn(4, 6)
    negatives = torch.tensor([int(targets[0]), 2, 5, 2])
    plain = []
    for row, target in enumerate(targets):
        scores = table @ hidden[row]
        others = [torch.exp(scores[item]) / (4 / 6) for item in negatives if item != target]
        plain.append(-torch.log(scores[target].exp() / (scores[target].exp() + sum(others))))
    assert_same(SampledSoftmax(negatives=4)(hidden, table, targets, negatives), torch.stack(plain), [hidden, table])


def test_sampled_softmax_with_every_item_drawn_as_often_is_the_full_one() -> None:
    hidden, table, targets = drawn(5, 6)
    everything = torch.arange(1, 7).repeat(3)
    ours = SampledSoftmax(negatives=18)(hidden, table, targets, everything)
    assert_same(ours, FullSoftmax()(hidden, table, targets, None), [hidden, table])


def test_the_normaliser_of_sampled_softmax_is_unbiased() -> None:
    hidden, table, targets = (value.detach() for value in drawn(1, 6))
    generator = torch.Generator().manual_seed(1)
    own = hidden[0] @ table[targets[0]]
    draws = torch.randint(1, 7, (4000, 5), generator=generator)
    losses = torch.cat([SampledSoftmax()(hidden, table, targets, negatives) for negatives in draws])
    estimates = (losses + own).exp()
    exact = (table[1:] @ hidden[0]).exp().sum()
    assert abs(float(estimates.mean() - exact)) < 4 * float(estimates.std()) / math.sqrt(4000)


@pytest.mark.parametrize("t", [0.0, 0.3, 0.75, 1.0])
def test_gbce_is_the_authors_transformation_of_the_positive_score(t: float) -> None:
    """Their form: a score whose sigmoid is σ(score)^β, computed in float64, in plain binary cross-entropy."""
    hidden, table, targets = drawn(4, 9)
    negatives = torch.tensor([[3, 7, 7], [1, 2, 3], [9, 8, 7], [4, 4, 4]])
    alpha = 3 / 8
    beta = alpha * (t * (1 - 1 / alpha) + 1 / alpha)
    plain = []
    for row, target in enumerate(targets):
        scores = (table @ hidden[row]).double() + math.log(beta / 3)
        transformed = torch.log(1 / (torch.sigmoid(scores[target]) ** -beta - 1))
        others = [torch.log1p(torch.exp(scores[item])) for item in negatives[row]]
        plain.append(torch.log1p(torch.exp(-transformed)) + sum(others))
    objective = GeneralisedBinaryCrossEntropy(negatives=3, t=t)
    assert_same(objective(hidden, table, targets, negatives), torch.stack(plain), [hidden, table])


def test_gbce_with_t_of_0_is_binary_cross_entropy_and_with_1_has_the_rate_as_power() -> None:
    hidden, table, _ = drawn(3, 9)
    targets, negatives = torch.tensor([1, 2, 3]), torch.tensor([[5, 9], [4, 4], [6, 1]])
    ours = GeneralisedBinaryCrossEntropy(negatives=2, t=0.0)(hidden, table, targets, negatives)
    biased = torch.cat([hidden, torch.ones(3, 1)], 1), torch.cat([table, torch.full((10, 1), -math.log(2))], 1)
    torch.testing.assert_close(ours, BinaryCrossEntropy(negatives=2)(*biased, targets, negatives))
    assert GeneralisedBinaryCrossEntropy(t=1.0).power(sampling_rate=0.2) == pytest.approx(0.2)
    assert GeneralisedBinaryCrossEntropy(t=0.4).power(sampling_rate=3.0) == pytest.approx(1.0)


def test_gbce_with_shared_negatives_is_gbce_less_the_draws_of_the_target_itself() -> None:
    hidden, table, targets = drawn(4, 9)
    shared = torch.tensor([3, 7, 7, int(targets[0])])
    found = SharedGeneralisedBinaryCrossEntropy(negatives=4)(hidden, table, targets, shared)
    objective = GeneralisedBinaryCrossEntropy(negatives=4)
    expected = objective(hidden, table, targets, shared.expand(4, -1))
    shift = math.log(objective.power(sampling_rate=4 / 8) / 4)
    own = torch.nn.functional.softplus((hidden * table[targets]).sum(1) + shift)
    expected = expected - own * (shared == targets[:, None]).sum(1)
    assert_same(found, expected, [hidden, table])


@pytest.mark.parametrize("t", [0.0, 0.75])
def test_gbce_begins_where_no_constant_would_do_better(t: float) -> None:
    """A new network's scores are all near zero, and nothing pulls all of them the same way."""
    scores = torch.zeros(40, 1, requires_grad=True)
    negatives = torch.arange(2, 32).expand(3, -1)
    objective = GeneralisedBinaryCrossEntropy(negatives=30, t=t)
    loss = objective(torch.ones(3, 1), scores, torch.tensor([1, 35, 36]), negatives).sum()
    (gradient,) = torch.autograd.grad(loss, scores)
    assert abs(float(gradient.sum())) < 1e-5
    assert float(gradient[1]) < -0.1
    assert float(gradient[2]) > 0


@pytest.mark.parametrize("score", [-60.0, 60.0, 500.0])
def test_gbce_stays_a_number_at_extreme_scores(score: float) -> None:
    hidden = torch.tensor([[score]], requires_grad=True)
    table = torch.tensor([[0.0], [1.0], [0.0]])
    loss = GeneralisedBinaryCrossEntropy(negatives=1)(hidden, table, torch.tensor([1]), torch.tensor([[2]]))
    loss.sum().backward()
    assert hidden.grad is not None
    assert bool(torch.isfinite(torch.cat([loss, hidden.grad.flatten()])).all())


@pytest.mark.parametrize(
    "objective",
    [BinaryCrossEntropy(), BayesianPersonalisedRanking(), BprMax(), SampledSoftmax(), GeneralisedBinaryCrossEntropy()],
)
def test_a_loss_that_samples_is_refused_without_negatives(objective: Objective) -> None:
    with pytest.raises(ValueError, match="needs negatives"):
        objective(torch.zeros(1, 2), torch.zeros(3, 2), torch.tensor([1]), None)


def test_scores_are_the_same_by_the_whole_table_and_by_gathered_rows() -> None:
    for items in (6, 200):
        hidden, table, targets = drawn(3, items)
        negatives = torch.tensor([[2, 3], [1, 1], [4, 5]])
        rows = [[table[item] @ hidden[row] for item in negatives[row]] for row in range(3)]
        others = torch.stack([torch.stack(row) for row in rows])
        own = (table[targets] * hidden).sum(1)
        plain = torch.log1p(torch.exp(-own)) + torch.log1p(torch.exp(others)).sum(1)
        assert_same(BinaryCrossEntropy(negatives=2)(hidden, table, targets, negatives), plain, [hidden, table])
