"""Masks that learn nothing: the property that defines each."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.catalogue import BACKBONES, CONTROLS, build
from models.config import ModelConfig
from models.denoising.controls import Control, Controlled, FixedRandom, TopK
from models.engine.batches import windows
from models.networks.attention import GateContext
from models.recommender import Draws
from models.storage import load_model, save_model
from tests.models.builders import draws_for
from tests.models.conftest import MakeLog

SMALL = ModelConfig(dim=8, blocks=2, heads=2, length=6, dropout=0.0)


def context_of(make_log: MakeLog, attention: Tensor, layer: int = 0) -> GateContext:
    log = make_log(lengths=[8, 5])
    batch = windows(log.sequences, torch.arange(2), torch.tensor([6, 3]), length=6, with_targets=False)
    return GateContext(q=attention, k=attention, attention=attention, batch=batch, layer=layer)


def draws_of(make_log: MakeLog) -> Draws:
    return draws_for(make_log(lengths=[8, 5]).sequences, seed=0)


def test_the_fixed_mask_is_drawn_once_by_the_seed(tmp_path: Path) -> None:
    config = replace(SMALL, length=60, gate="fixed-random", gate_keep=0.7)
    one, again, other = (build(config, 30, seed=seed) for seed in (1, 1, 2))
    masks = []
    for model in (one, again, other):
        assert isinstance(model, Controlled)
        assert isinstance(model.control, FixedRandom)
        masks.append(model.control.cells)
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert set(masks[0].unique().tolist()) == {0.0, 1.0}
    assert float(masks[0].mean()) == pytest.approx(0.7, abs=0.02)
    assert not next(iter(one.parameters())).equal(masks[0])
    save_model(one, config, tmp_path, item_count=30)
    assert torch.equal(load_model(tmp_path).state_dict()["control.cells"], masks[0])


def control(gate: str, **settings: object) -> Control:
    """The one that goes by that name."""
    config = ModelConfig.from_dict(SMALL.to_dict() | {"gate": gate} | settings)
    return CONTROLS[gate](config, BACKBONES[config.backbone](config, 5, 2))


def test_the_fixed_mask_is_the_same_in_training_and_in_use_by_the_positions_of_a_window(make_log: MakeLog) -> None:
    control = FixedRandom(layers=2, length=6, keep=0.5)
    context = context_of(make_log, torch.rand(2, 2, 6, 6), layer=1)
    mask = control.in_use(context)
    assert torch.equal(control.in_training(draws_of(make_log))(context), mask)
    whole = int((context.batch.segments > 0).sum(1).argmax())
    assert torch.equal(mask[whole, 0], control.cells[1])
    short = 1 - whole
    assert context.batch.positions[short, :3].tolist() == [3, 4, 5]
    assert torch.equal(mask[short, 0, :3, :3], control.cells[1, 3:, 3:])


def test_heads_are_dropped_whole_and_those_that_stay_keep_the_mean(make_log: MakeLog) -> None:
    """Each row's and each head's draw is its own."""
    drop = control("head-drop", gate_keep=0.75)
    context = context_of(make_log, torch.rand(2, 500, 6, 6))
    mask = drop.in_training(draws_of(make_log))(context)
    assert mask.shape == (2, 500, 1, 1)
    assert mask.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert float(mask.mean()) == pytest.approx(1.0, abs=0.06)
    assert float((mask[0] == mask[1]).float().mean()) == pytest.approx(0.75**2 + 0.25**2, abs=0.07)
    assert torch.equal(drop.in_use(context).expand(2, 500, 6, 6), torch.ones(2, 500, 6, 6))


def test_a_dropped_layer_has_no_attention_at_all_and_in_use_all_have_it(make_log: MakeLog) -> None:
    """Each layer's draw is its own."""
    drop, draws = control("layer-drop", gate_keep=0.8), draws_of(make_log)
    contexts = [context_of(make_log, torch.rand(2, 2, 6, 6), layer) for layer in range(2)]
    steps = [drop.in_training(draws) for _ in range(400)]
    drawn = [[float(mask(context)) for context in contexts] for mask in steps]
    assert {cell for of_step in drawn for cell in of_step} == {0.0, 1.0}
    for shares in zip(*drawn, strict=True):
        assert sum(shares) / 400 == pytest.approx(0.8, abs=0.06)
    assert sum(one != other for one, other in drawn) / 400 == pytest.approx(2 * 0.8 * 0.2, abs=0.08)
    assert all(torch.equal(drop.in_use(context).expand(2, 2, 6, 6), torch.ones(2, 2, 6, 6)) for context in contexts)


def test_top_k_is_the_softmax_over_the_k_largest(make_log: MakeLog) -> None:
    logits = torch.randn(2, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    attention = torch.softmax(logits, -1)
    kept = attention * TopK(count=3).in_use(context_of(make_log, attention))
    least = logits.sort(-1, descending=True).values[..., 2:3]
    expected = torch.softmax(logits.masked_fill(logits < least, -torch.inf), -1)
    torch.testing.assert_close(kept, expected)
    torch.testing.assert_close(TopK(count=9).in_use(context_of(make_log, attention)), torch.ones(2, 2, 6, 6))


@pytest.mark.parametrize("gate", CONTROLS)
def test_it_trains_and_ranks(make_log: MakeLog, gate: str) -> None:
    log = make_log(lengths=[8, 5])
    model = build(replace(SMALL, gate=gate), 30, seed=1)
    batch = windows(log.sequences, torch.arange(2), torch.tensor([6, 3]), length=6, with_targets=True)
    draws = draws_of(make_log)
    optimizer = torch.optim.Adam(model.parameter_groups(1e-2))
    losses = []
    for _ in range(40):
        loss = model.loss(batch, draws).objective()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    assert torch.isfinite(model.query(batch)).all()
