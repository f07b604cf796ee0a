"""Objectives against their formulas."""

import math

import pytest
import torch

from models.engine.losses import BinaryCrossEntropy, FullSoftmax


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


def test_binary_cross_entropy_without_negatives_is_refused() -> None:
    with pytest.raises(ValueError, match="needs negatives"):
        BinaryCrossEntropy()(torch.zeros(1, 2), torch.zeros(3, 2), torch.tensor([1]), None)
