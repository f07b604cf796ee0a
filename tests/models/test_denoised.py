"""Rec-Denoiser: exact gradients by enumeration, the open gate, what a positional mask may depend on."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from models.catalogue import build
from models.config import ModelConfig
from models.denoising.denoised import Denoised
from models.denoising.estimators import Arm, TokenCredit
from models.denoising.gates import PositionalGate
from models.engine.batches import Batch, UnseenItems, training_batches, windows
from models.engine.randomness import Streams
from models.engine.sequences import InteractionLog, Sequences
from models.networks.backbone import NextItem
from models.recommender import Draws
from tests.models.conftest import MakeLog

TINY = ModelConfig(dim=4, blocks=2, heads=1, length=3, dropout=0.0, loss="softmax")


def draws_for(sequences: Sequences, seed: int) -> Draws:
    streams = Streams(seed, Draws.NAMES, device=torch.device("cpu"))
    return Draws(streams, UnseenItems(sequences, sequences.train_lengths))


def tiny_model(item_count: int) -> NextItem:
    model = build(TINY, item_count, seed=2)
    assert isinstance(model, NextItem)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.5)
    return model


def repeated(log: InteractionLog, copies: int) -> Batch:
    """The first user's first three events, so many times."""
    users, stops = torch.zeros(copies, dtype=torch.int64), torch.full((copies,), 3)
    return windows(log.sequences, users, stops, length=3, with_targets=True)


def exact_gradient(base: NextItem, gate: PositionalGate, batch: Batch) -> Tensor:
    """∇Φ of the expected loss, by summing over every mask of the visible cells.

    `batch` holds the same window once for every mask.
    """
    layers, length = gate.phi.shape[:2]
    cells = torch.tensor([(layer, i, j) for layer in range(layers) for i in range(length) for j in range(i + 1)])
    bits = torch.tensor(list(itertools.product((0.0, 1.0), repeat=len(cells))))
    masks = torch.zeros(len(bits), layers, length, length)
    masks[:, cells[:, 0], cells[:, 1], cells[:, 2]] = bits
    keep = torch.sigmoid(gate.phi.detach())[tuple(cells.T)].double()
    probabilities = torch.where(bits > 0, keep, 1 - keep).prod(1)
    with torch.no_grad():
        losses = base.position_losses(batch, None, dropout=None, gate=lambda context: masks[:, context.layer, None])
    means = losses.view(len(bits), -1).mean(1).double()
    gradient = torch.zeros_like(gate.phi, dtype=torch.float64)
    gradient[tuple(cells.T)] = ((probabilities * means)[:, None] * (bits - keep)).sum(0)
    return gradient


def test_per_token_arm_is_unbiased(make_log: MakeLog) -> None:
    """The mean of many draws meets the enumerated gradient within its standard error, in every cell."""
    log = make_log(lengths=[6], item_count=5)
    base = tiny_model(5)
    gate = PositionalGate(layers=2, length=3, initial_logit=0.4)
    exact = exact_gradient(base, gate, repeated(log, 2**12))
    model = Denoised(base, gate, Arm(TokenCredit()), beta=0.0)

    many = repeated(log, 400)
    draws = draws_for(log.sequences, seed=0)
    estimates = []
    for _ in range(60):
        gate.phi.grad = None
        model.loss(many, draws).surrogates["gate"].backward()
        assert gate.phi.grad is not None
        estimates.append(gate.phi.grad.clone())
    stacked = torch.stack(estimates)
    error = (stacked.mean(0) - exact).abs()
    standard = stacked.std(0) / len(estimates) ** 0.5
    causal = torch.ones(3, 3).tril().bool().expand(2, 3, 3)
    assert (error[causal] <= 4.5 * standard[causal] + 1e-7).all()
    assert (stacked[:, ~causal] == 0).all()
    assert exact.abs().max() > 20 * standard[causal].mean(), "the test could not tell a wrong gradient"


def test_with_the_gate_open_it_is_the_backbone_to_the_bit(make_log: MakeLog) -> None:
    config = ModelConfig(dim=8, blocks=2, heads=2, length=6)
    log = make_log(lengths=[9, 4, 12, 5])
    plain = build(config, 30, seed=3)
    gated = build(
        ModelConfig(**(config.to_dict() | {"gate": "positional", "gate_logit": 100.0, "beta": 0.0})), 30, seed=3
    )
    batches = [
        next(iter(training_batches(log.sequences, length=6, batch_size=4, generator=torch.Generator().manual_seed(0))))
        for _ in range(2)
    ]
    losses = [
        model.loss(batch, draws_for(log.sequences, seed=9))
        for model, batch in zip((plain, gated), batches, strict=True)
    ]
    assert torch.equal(losses[0].terms, losses[1].terms)
    assert torch.equal(plain.query(batches[0]), gated.query(batches[1]))
    losses[0].objective().backward()
    losses[1].objective().backward()
    assert isinstance(gated, Denoised)
    for (name, one), other in zip(plain.named_parameters(), gated.base.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad), name  # type: ignore[arg-type]


def test_a_packed_window_meets_the_cells_of_its_own_positions(make_log: MakeLog) -> None:
    log = make_log(lengths=[4, 4, 4])
    model = build(ModelConfig(dim=8, blocks=1, heads=2, length=9, gate="positional"), 30, seed=1)
    assert isinstance(model, Denoised)
    assert isinstance(model.gate, PositionalGate)
    with torch.no_grad():
        model.gate.phi.copy_(torch.randn(model.gate.phi.shape, generator=torch.Generator().manual_seed(0)))
    together = windows(log.sequences, torch.arange(3), torch.full((3,), 3), length=9, with_targets=False)
    assert len(together.items) == 1
    alone = [
        model.query(windows(log.sequences, torch.tensor([user]), torch.tensor([3]), length=9, with_targets=False))
        for user in range(3)
    ]
    torch.testing.assert_close(model.query(together), torch.cat(alone), rtol=1e-5, atol=1e-6)


def test_inference_closes_cells_of_at_most_one_half(make_log: MakeLog) -> None:
    log = make_log(lengths=[8])
    model = build(ModelConfig(dim=8, blocks=1, heads=2, length=5, gate="positional"), 30, seed=1)
    assert isinstance(model, Denoised)
    assert isinstance(model.gate, PositionalGate)
    batch = windows(log.sequences, torch.tensor([0]), torch.tensor([6]), length=5, with_targets=False)
    with torch.no_grad():
        model.gate.phi.fill_(0.0)
        closed = model.query(batch)
        blocked = model.base.query(batch, gate=lambda _: torch.zeros(1))
        model.gate.phi.fill_(1.0)
        half_open = model.query(batch)
        scaled = model.base.query(batch, gate=lambda _: torch.sigmoid(torch.tensor(1.0)))
    assert torch.equal(closed, blocked)
    torch.testing.assert_close(half_open, scaled)


def test_the_penalty_is_the_mean_over_visible_cells(make_log: MakeLog) -> None:
    log = make_log(lengths=[5, 9])
    gate = PositionalGate(layers=2, length=4, initial_logit=0.0)
    with torch.no_grad():
        gate.phi.copy_(torch.randn(gate.phi.shape, generator=torch.Generator().manual_seed(0)))
    batch = windows(log.sequences, torch.arange(2), torch.tensor([2, 6]), length=4, with_targets=True)
    keep = torch.sigmoid(gate.phi.detach()).numpy()
    visible = [(i, j) for i in range(2, 4) for j in range(2, i + 1)] + [(i, j) for i in range(4) for j in range(i + 1)]
    expected = np.mean([keep[layer, i, j] for layer in range(2) for i, j in visible])
    assert float(gate.penalty(batch, torch.sigmoid, on="mean").detach()) == pytest.approx(float(expected), rel=1e-5)
