"""Rec-Denoiser: the open gate, its penalty and its collapse, what it tells, what a positional mask may depend on."""

from dataclasses import replace
from statistics import fmean
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from models import catalogue
from models.catalogue import build
from models.config import ModelConfig
from models.denoising.contextual import ContextualGate
from models.denoising.denoised import Denoised
from models.denoising.estimators import StraightThrough
from models.denoising.gates import COLLAPSED_BELOW, PositionalGate
from models.engine.batches import training_batches, windows
from models.engine.sequences import InteractionLog
from models.recommender import Recommender
from tests.models.builders import draws_for
from tests.models.conftest import MakeLog

SMALL = ModelConfig(dim=8, blocks=2, heads=2, length=6)


def trained_once(model: Recommender, log: InteractionLog) -> tuple[Tensor, Tensor]:
    """The losses and the queries of one batch; one step of Adam follows."""
    (batch,) = training_batches(log.sequences, length=6, batch_size=4, generator=torch.Generator().manual_seed(0))
    loss = model.loss(batch, draws_for(log.sequences))
    queries = model.query(batch)
    optimizer = torch.optim.Adam(model.parameter_groups(1e-2), fused=True)
    loss.objective().backward()
    optimizer.step()
    return loss.terms.detach(), queries.detach()


@pytest.mark.parametrize("estimator", catalogue.ESTIMATORS)
def test_with_the_gate_open_it_is_the_backbone_to_the_bit(make_log: MakeLog, estimator: str) -> None:
    log = make_log(lengths=[9, 4, 12, 5])
    settings = {"gate": "positional", "gate_logit": 100.0, "beta": 0.0, "estimator": estimator}
    plain = build(SMALL, 30, seed=3)
    gated = build(replace(SMALL, **settings), 30, seed=3)  # type: ignore[arg-type]
    assert isinstance(gated, Denoised)
    for one, other in zip(trained_once(plain, log), trained_once(gated, log), strict=True):
        assert torch.equal(one, other)
    for (name, weights), own in zip(plain.named_parameters(), gated.base.parameters(), strict=True):
        assert torch.equal(weights, own), name


def test_passes_apart_and_stacked_train_alike(make_log: MakeLog) -> None:
    log = make_log(lengths=[9, 4, 12, 5])
    for estimator in ("arm", "arm-per-token"):
        config = replace(SMALL, gate="positional", estimator=estimator, gate_logit=0.5, gamma=0.01)
        apart, stacked = (build(replace(config, passes=passes), 30, seed=3) for passes in ("apart", "stacked"))
        torch.testing.assert_close(trained_once(apart, log), trained_once(stacked, log))
        for one, other in zip(apart.parameters(), stacked.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)


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
    assert float(gate.penalty(batch, StraightThrough(), on="mean").detach()) == pytest.approx(float(expected), rel=1e-5)
    total = sum(keep[layer, i, j] for layer in range(2) for i, j in set(visible))
    assert float(gate.penalty(batch, StraightThrough(), on="sum").detach()) == pytest.approx(float(total), rel=1e-5)


@pytest.mark.parametrize("on", ["sum", "mean"])
def test_beta_weighs_the_penalty_that_is_asked_for(make_log: MakeLog, on: Literal["sum", "mean"]) -> None:
    log = make_log(lengths=[9, 4, 12, 5])
    model = build(replace(SMALL, gate="positional", beta=0.3, beta_on=on), 30, seed=3)
    assert isinstance(model, Denoised)
    assert model.gate is not None
    assert model.estimator is not None
    (batch,) = training_batches(log.sequences, length=6, batch_size=4, generator=torch.Generator().manual_seed(0))
    loss = model.loss(batch, draws_for(log.sequences))
    expected = 0.3 * model.gate.penalty(batch, model.estimator, on=on)
    torch.testing.assert_close(loss.penalties["gate"], expected)
    torch.testing.assert_close(loss.objective(), loss.terms.mean() + expected + loss.surrogates["gate"])
    assert (
        "gate"
        not in build(replace(SMALL, gate="positional", beta=0.0), 30, seed=3)
        .loss(batch, draws_for(log.sequences))
        .penalties
    )


def test_the_gate_has_a_learning_rate_of_its_own(make_log: MakeLog) -> None:
    """Adam's first step is its learning rate long, in every cell that has a gradient."""
    log = make_log(lengths=[9, 4, 12, 5])
    model = build(replace(SMALL, gate="positional", gate_rate=7.0, beta=1.0), 30, seed=3)
    assert isinstance(model, Denoised)
    assert isinstance(model.gate, PositionalGate)
    before = model.gate.phi.detach().clone()
    trained_once(model, log)
    moved = (model.gate.phi.detach() - before).abs()
    assert float(moved.max()) == pytest.approx(0.07, rel=1e-3)


@pytest.mark.parametrize(
    ("gate", "estimator"),
    [
        *(("positional", estimator) for estimator in catalogue.ESTIMATORS),
        *(("contextual", estimator) for estimator in catalogue.ESTIMATORS if estimator not in catalogue.OF_A_BATCH),
    ],
)
def test_how_open_a_gate_is_said_to_be_is_how_open_its_mask_is(make_log: MakeLog, gate: str, estimator: str) -> None:
    """Whatever the estimator takes a logit to mean: a hard concrete mask is open where σ(φ) is well below one half."""
    log = make_log(lengths=[9, 4, 12, 5])
    model = build(replace(SMALL, gate=gate, estimator=estimator, gate_logit=-2.0, beta=0.0), 30, seed=3)
    assert isinstance(model, Denoised)
    assert isinstance(model.gate, PositionalGate | ContextualGate)
    weights = model.gate.phi if isinstance(model.gate, PositionalGate) else model.gate.reads.weight
    with torch.no_grad():
        weights += torch.randn(weights.shape, generator=torch.Generator().manual_seed(0))
    (batch,) = training_batches(log.sequences, length=6, batch_size=4, generator=torch.Generator().manual_seed(0))
    told = model.explain(batch)
    model.loss(batch, draws_for(log.sequences))
    visible = batch.visible[None, :, None].expand_as(told["mask"])
    shares = [float((layer[batch.visible[:, None].expand_as(layer)] > 0).double().mean()) for layer in told["mask"]]
    share = fmean(shares)
    assert 0 < share < 1
    assert model.diagnostics() == pytest.approx(
        {
            "gate.open_share": share,
            "gate.mean_keep": float(told["gate"][visible].double().mean()),
            "gate.collapsed": float(min(shares) < COLLAPSED_BELOW),
        },
        abs=1e-5,
    )


@pytest.fixture
def gated(make_log: MakeLog) -> tuple[Denoised, PositionalGate]:
    """A model that was trained for a step, and its positional gate, which is open."""
    model = build(replace(SMALL, gate="positional"), 30, seed=3)
    assert isinstance(model, Denoised)
    assert isinstance(model.gate, PositionalGate)
    trained_once(model, make_log(lengths=[9, 4, 12, 5]))
    return model, model.gate


def test_a_gate_that_closes_is_said_to_have_collapsed(gated: tuple[Denoised, PositionalGate]) -> None:
    model, gate = gated
    assert not model.collapsed()
    assert model.warnings() == ()
    assert model.diagnostics()["gate.collapsed"] == 0.0
    with torch.no_grad():
        gate.phi[gate.seen.expand_as(gate.phi) > 0] = -1.0
    assert gate.seen[0, 0] == 2, "two users fill all six positions"
    assert model.collapsed()
    assert model.diagnostics() == pytest.approx(
        {"gate.collapsed": 1.0, "gate.open_share": 0.0, "gate.mean_keep": 1 / (1 + np.e)}
    )
    assert "0.0% of the visible cells are open. A smaller beta" in model.warnings()[0]
    model.beta = 0.0
    assert model.warnings()[0].endswith("are open.")


def test_a_gate_that_closes_one_layer_is_said_to_have_collapsed_there(gated: tuple[Denoised, PositionalGate]) -> None:
    model, gate = gated
    with torch.no_grad():
        gate.phi[1] = -1.0
    layers = len(gate.phi)
    assert model.collapsed()
    assert model.diagnostics()["gate.open_share"] == pytest.approx((layers - 1) / layers)
    told = model.warnings()[0]
    assert told.startswith("The gate has collapsed in layer 2, whose attention is all but off: there at most 0.0%")


def test_it_tells_what_it_keeps(make_log: MakeLog) -> None:
    log = make_log(lengths=[8, 4])
    model = build(replace(SMALL, gate="positional"), 30, seed=1)
    assert isinstance(model, Denoised)
    assert isinstance(model.gate, PositionalGate)
    with torch.no_grad():
        model.gate.phi.copy_(torch.randn(model.gate.phi.shape, generator=torch.Generator().manual_seed(0)))
    batch = windows(log.sequences, torch.arange(2), torch.tensor([6, 3]), length=6, with_targets=False)
    told = model.explain(batch)
    keep = torch.sigmoid(model.gate.phi.detach())
    whole, short = (int(row) for row in (batch.segments > 0).sum(1).argsort(descending=True))
    torch.testing.assert_close(told["gate"][:, whole, 0], keep.tril())
    torch.testing.assert_close(told["mask"][:, whole, 0], torch.where(keep > 0.5, keep, 0.0).tril())
    torch.testing.assert_close(told["attention"].sum(-1)[:, whole], torch.ones(2, 2, 6))
    # The third of six events is seen by itself and by the three after it.
    torch.testing.assert_close(told["keep"][whole, 2], keep[:, 2:, 2].mean())
    # The short window stands at the last positions: its second event is at the fifth.
    torch.testing.assert_close(told["keep"][short, 1], keep[:, 4:, 4].mean())
    assert (told["keep"][short, 3:] == 0).all()
    assert build(SMALL, 30, seed=1).explain(batch) == {}
