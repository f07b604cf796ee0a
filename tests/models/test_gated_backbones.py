"""Gates and controls on every backbone: open they change nothing, and each way to run the passes trains alike."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor

from models import catalogue
from models.catalogue import build
from models.config import NO_GATE, ModelConfig
from models.denoising.controls import Controlled
from models.denoising.denoised import Denoised
from models.engine.batches import Batch, history_batches
from models.engine.sequences import InteractionLog
from models.networks.backbone import AroundNextItem
from models.recommender import Draws, Recommender
from tests.models.builders import ATTENTIVE, draws_for
from tests.models.references import perturbed

ITEMS = 30
LEARNED = [
    (backbone, gate, estimator)
    for backbone, gate, estimator in product(ATTENTIVE, catalogue.GATES, catalogue.ESTIMATORS)
    if not (gate in catalogue.TABLELESS and estimator in catalogue.OF_A_BATCH)
]


@pytest.fixture
def log(make_log) -> InteractionLog:  # type: ignore[no-untyped-def]
    """Random items at random times."""
    made = make_log(lengths=[9, 4, 12, 5, 8])
    generator = torch.Generator().manual_seed(7)
    times = torch.randint(1, 50, (len(made.sequences.items),), generator=generator).cumsum(0)
    return InteractionLog(replace(made.sequences, times=times), made.targets)


def config_of(backbone: str, **settings: object) -> ModelConfig:
    small = {"backbone": backbone, "dim": 8, "user_dim": 4, "heads": 2, "length": 6, "max_interval": 9, "masked": 0.4}
    return ModelConfig.from_dict(small | settings)


def built(config: ModelConfig, log: InteractionLog) -> Recommender:
    model = build(config, ITEMS, seed=3, user_count=log.sequences.user_count)
    model.prepare(log.sequences)
    return model


def ranked_with(model: Recommender, log: InteractionLog) -> Batch:
    targets = log.targets["test"]
    sizes = [len(targets)]
    (batch,) = history_batches(log.sequences, targets, length=model.length, sizes=sizes, appended=model.appended)
    return batch


def training_batch(model: Recommender, log: InteractionLog, draws: Draws) -> Batch:
    order = torch.Generator().manual_seed(0)
    (batch,) = model.training_batches(log.sequences, batch_size=8, generator=order, draws=draws)
    return batch


def trained_once(model: Recommender, log: InteractionLog) -> tuple[Tensor, Tensor]:
    """The losses of one batch, and the queries after a step of Adam on it."""
    draws = draws_for(log.sequences)
    loss = model.loss(training_batch(model, log, draws), draws)
    optimizer = torch.optim.Adam(model.parameter_groups(1e-2))
    loss.objective().backward()
    optimizer.step()
    return loss.terms.detach(), model.query(ranked_with(model, log)).detach()


@pytest.mark.parametrize(("backbone", "gate", "estimator"), LEARNED)
def test_with_the_gate_open_it_is_the_backbone_to_the_bit(
    log: InteractionLog, backbone: str, gate: str, estimator: str
) -> None:
    plain = built(config_of(backbone), log)
    gated = built(config_of(backbone, gate=gate, gate_logit=100.0, beta=0.0, estimator=estimator), log)
    for one, other in zip(trained_once(plain, log), trained_once(gated, log), strict=True):
        assert torch.isfinite(one).all()
        assert torch.equal(one, other)
    assert isinstance(gated, Denoised)
    for (name, weights), own in zip(plain.named_parameters(), gated.base.parameters(), strict=True):
        assert torch.equal(weights, own), name


@pytest.mark.parametrize(("backbone", "gate", "estimator"), LEARNED)
def test_a_half_open_gate_trains(log: InteractionLog, backbone: str, gate: str, estimator: str) -> None:
    config = config_of(backbone, gate=gate, gate_logit=0.5, gamma=0.01, beta=0.1, estimator=estimator)
    model = built(config, log)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    losses, queries = trained_once(model, log)
    assert torch.isfinite(losses).all()
    assert torch.isfinite(queries).all()
    own = {name: value for name, value in model.named_parameters() if name.startswith("gate.")}
    assert own
    assert all(not torch.equal(before[name], value) for name, value in own.items())
    told = model.explain(ranked_with(model, log))
    assert all(torch.isfinite(values).all() for values in told.values())


@pytest.mark.parametrize("loss", ["bce", "sampled-softmax", "softmax"])
@pytest.mark.parametrize("backbone", ATTENTIVE)
def test_passes_apart_and_stacked_train_alike(log: InteractionLog, backbone: str, loss: str) -> None:
    """With negatives of each position's own, of the batch's, and none."""
    config = config_of(backbone, gate="positional", estimator="arm", gate_logit=0.5, gamma=0.01, loss=loss, negatives=5)
    apart, stacked = (built(replace(config, passes=passes), log) for passes in ("apart", "stacked"))
    torch.testing.assert_close(trained_once(apart, log), trained_once(stacked, log), rtol=1e-4, atol=1e-5)
    for one, other in zip(apart.parameters(), stacked.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("backbone", "gate"), product(ATTENTIVE, catalogue.CONTROLS))
def test_a_control_trains_every_backbone(log: InteractionLog, backbone: str, gate: str) -> None:
    losses, queries = trained_once(built(config_of(backbone, gate=gate), log), log)
    assert torch.isfinite(losses).all()
    assert torch.isfinite(queries).all()


@pytest.mark.parametrize(("backbone", "gate"), product(ATTENTIVE, catalogue.CONTROLS))
def test_a_control_is_trained_under_its_mask(log: InteractionLog, backbone: str, gate: str) -> None:
    """The loss is the backbone's own with attention masked as the control masks it, drawn from the same draws."""
    narrow = {"gate_keep": 0.5, "attention_top": 2, "sparse_stride": 2, "sparse_width": 1}
    model = built(config_of(backbone, gate=gate, **narrow), log)
    assert isinstance(model, Controlled)
    perturbed(model.base.backbone)
    batch = training_batch(model, log, draws_for(log.sequences))
    terms = model.loss(batch, draws_for(log.sequences)).terms

    def own_terms(*, masked: bool) -> Tensor:
        draws = draws_for(log.sequences)
        shown, negatives = model.base.drawn(batch, draws)
        mask = model.control.in_training(draws) if masked else None
        return model.base.position_losses(shown, negatives, dropout=draws.dropout(), gate=mask)

    torch.testing.assert_close(terms, own_terms(masked=True), rtol=0, atol=0)
    assert not torch.allclose(terms, own_terms(masked=False), rtol=1e-3)


@pytest.mark.parametrize(("backbone", "gate"), product(ATTENTIVE, (NO_GATE, *catalogue.GATES, *catalogue.CONTROLS)))
def test_every_parameter_learns_in_one_group(log: InteractionLog, backbone: str, gate: str) -> None:
    model = built(config_of(backbone, gate=gate), log)
    learning = [parameter for group in model.parameter_groups(1e-2) for parameter in group["params"]]
    assert sorted(map(id, learning)) == sorted(map(id, model.parameters()))


@pytest.mark.parametrize("backbone", ATTENTIVE)
@pytest.mark.parametrize("gate", ["positional", "contextual", "fixed-random"])
def test_it_reads_what_its_backbone_reads(log: InteractionLog, backbone: str, gate: str) -> None:
    plain = built(config_of(backbone), log)
    gated = built(config_of(backbone, gate=gate), log)
    assert isinstance(gated, AroundNextItem)
    assert (gated.needs, gated.appended, gated.length) == (plain.needs, plain.appended, plain.length)
