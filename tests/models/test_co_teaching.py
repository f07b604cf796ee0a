"""Co-teaching: each network trains on what the other finds easy, and the first ranks."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.catalogue import build, check
from models.config import ModelConfig, TrainingConfig
from models.denoising.co_teaching import CoTeaching
from models.engine.batches import Batch
from models.engine.ranking import Protocol, rank
from models.engine.sequences import InteractionLog
from models.engine.training import Training
from models.networks.backbone import NextItem
from models.storage import load_model, save_model
from tests.models.builders import draws_for
from tests.models.conftest import MakeLog

ITEMS = 30
BACKBONES = ["sasrec", "bert4rec", "tisasrec", "sse-pt"]
SMALL = ModelConfig(
    dim=8, user_dim=4, length=6, max_interval=9, dropout=0.0, robust="co-teaching", truncate=0.4, truncate_ramp=10
)


@pytest.fixture
def log(make_log: MakeLog) -> InteractionLog:
    made = make_log(lengths=[9, 4, 12, 5, 8])
    return InteractionLog(replace(made.sequences, times=torch.arange(len(made.sequences.items))), made.targets)


def taught(log: InteractionLog, **settings: object) -> CoTeaching:
    model = build(ModelConfig.from_dict(SMALL.to_dict() | settings), ITEMS, seed=3, user_count=5)
    assert isinstance(model, CoTeaching)
    model.prepare(log.sequences)
    return model


def one_batch(model: CoTeaching, log: InteractionLog) -> Batch:
    generator, draws = torch.Generator().manual_seed(0), draws_for(log.sequences, seed=1)
    (batch,) = model.training_batches(log.sequences, batch_size=8, generator=generator, draws=draws)
    return batch


@pytest.mark.parametrize("backbone", BACKBONES)
def test_each_trains_on_the_positions_that_the_other_finds_easiest(log: InteractionLog, backbone: str) -> None:
    model = taught(log, backbone=backbone)
    batch = one_batch(model, log)
    shown, negatives = model.base.drawn(batch, draws_for(log.sequences))
    networks = (model.base, model.peer)
    losses = [network.position_losses(shown, negatives, dropout=None) for network in networks]
    count = len(losses[0])
    for step, share in ((0, 0.0), (5, 0.2), (10, 0.4), (99, 0.4)):
        model.zero_grad()
        told = model.loss(batch, replace(draws_for(log.sequences), step=step))
        told.objective().backward()
        kept = count - int(count * share)
        for number, network in enumerate(networks):
            easiest = losses[1 - number].detach().argsort()[:kept]
            expected = torch.autograd.grad(
                losses[number][easiest].mean(), list(network.parameters()), retain_graph=True, allow_unused=True
            )
            for parameter, gradient in zip(network.parameters(), expected, strict=True):
                torch.testing.assert_close(or_zero(parameter.grad, parameter), or_zero(gradient, parameter))
    assert float(told.data_term().detach()) != pytest.approx(float(told.penalties["peer"].detach()), rel=1e-3)


def or_zero(gradient: Tensor | None, parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if gradient is None else gradient


def test_they_begin_apart_and_the_first_is_the_plain_one_and_ranks(log: InteractionLog) -> None:
    model = taught(log)
    plain = build(replace(SMALL, robust="none"), ITEMS, seed=3)
    assert isinstance(plain, NextItem)
    for (name, own), alone in zip(model.base.named_parameters(), plain.parameters(), strict=True):
        assert torch.equal(own, alone)
        matrix = own.dim() > 1
        assert torch.equal(own, dict(model.peer.named_parameters())[name]) == (not matrix)
    batch = one_batch(model, log)
    assert torch.equal(model.query(batch), plain.query(batch))
    assert torch.equal(model.item_table(), plain.item_table())


def test_dropout_and_negatives(log: InteractionLog) -> None:
    """Twins see the same negatives and have dropout of their own."""
    for dropout, alike in ((0.0, True), (0.5, False)):
        model = taught(log, dropout=dropout, truncate=0.0)
        model.peer.load_state_dict(model.base.state_dict())
        told = model.loss(one_batch(model, log), draws_for(log.sequences))
        assert torch.equal(told.data_term(), told.penalties["peer"]) == alike


@pytest.mark.parametrize("rows", ["all", "touched"])
def test_both_learn_and_the_stored_model_ranks_as_the_trained_one(
    log: InteractionLog, tmp_path: Path, rows: str
) -> None:
    model = taught(log)
    before = [values.detach().clone() for values in model.parameters()]
    training = Training(
        model, log, log, TrainingConfig.from_dict({"epochs": 2, "table_rows": rows}),
        seed=1, evaluation_seed=0, device=torch.device("cpu"),
    )  # fmt: skip
    training.run(on_epoch=lambda _: None)
    moved = [not torch.equal(values, earlier) for values, earlier in zip(model.parameters(), before, strict=True)]
    assert all(moved)
    save_model(model, SMALL, tmp_path, item_count=ITEMS)
    protocol = Protocol.of(log.sequences, log.targets["test"], seed=0)
    ranks = [rank(one, log.sequences, log.targets["test"], protocol) for one in (model, load_model(tmp_path))]
    for name, values in ranks[0].items():
        assert values.tolist() == ranks[1][name].tolist()


@pytest.mark.parametrize("beside", [{"noise_model": "popularity"}, {"drop_events": 0.1}, {"corrupt_inputs": 0.1}])
def test_it_is_refused_beside_what_it_does_not_read(beside: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="co-teaching is for two plain networks"):
        check(ModelConfig.from_dict({"robust": "co-teaching"} | beside))
