"""The optimiser's settings: what the learning rate is at each step, and that the defaults change nothing."""

import pytest
import torch

from models.catalogue import build
from models.config import NO_GATE, SELECTED_BY, ModelConfig, TrainingConfig
from models.engine.metrics import SELECTION_METRIC, summary
from models.engine.ranking import rank
from models.engine.training import Training, learning_rate
from tests.models.builders import rates_of
from tests.models.conftest import MakeLog


def training_of(make_log: MakeLog, *, gate: str = NO_GATE, **settings: float) -> Training:
    log = make_log(lengths=[5, 6, 9, 4, 8, 7])
    model = build(ModelConfig(dim=8, length=6, gate=gate), 30, seed=1)
    config = TrainingConfig.from_dict({"batch_size": 2, "epochs": 5} | settings)
    return Training(model, log, log, config, seed=1, evaluation_seed=0, device=torch.device("cpu"))


def test_the_rate_rises_over_the_warm_up_and_falls_to_the_end() -> None:
    config = TrainingConfig(learning_rate=1.0, warmup=4, decay=1.0)
    rates = [learning_rate(config, done, steps=12) for done in range(12)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4:] == pytest.approx([1 - done / 8 for done in range(8)])
    half = TrainingConfig(learning_rate=1.0, decay=0.5)
    assert learning_rate(half, 0, steps=10) == 1.0
    assert learning_rate(half, 9, steps=10) == pytest.approx(0.55)
    assert {learning_rate(TrainingConfig(), done, steps=7) for done in range(7)} == {1e-3}


def test_steps_are_counted_over_epochs(make_log: MakeLog) -> None:
    training = training_of(make_log, warmup=100)
    seen = [of_groups[0] for of_groups in rates_of(training)]
    assert seen == pytest.approx([1e-3 * (number + 1) / 100 for number in range(15)])


def test_a_rate_that_falls_reaches_its_end_where_epochs_have_fewer_steps_than_the_log(make_log: MakeLog) -> None:
    log = make_log(lengths=[4] * 40)
    model = build(ModelConfig(dim=8, length=6, drop_events=0.5), 30, seed=1)
    settings = TrainingConfig(batch_size=2, epochs=10, decay=1.0, patience=10)
    training = Training(model, log, log, settings, seed=1, evaluation_seed=0, device=torch.device("cpu"))
    rates: list[list[float]] = []
    while not training.finished:
        metrics = training.train_epoch()
        rates.append([training.optimizer.param_groups[0]["lr"], training.progress.steps])
        training.end_epoch(metrics, seconds=0.0, on_epoch=lambda _: None)
    assert rates[-1][1] < 0.8 * 10 * training.steps_of_epoch
    assert [rate for rate, _ in rates] == sorted((rate for rate, _ in rates), reverse=True)
    assert rates[-1][0] < 1e-4


def test_each_group_keeps_its_rate_over_the_networks(make_log: MakeLog) -> None:
    log = make_log(lengths=[5, 6, 9, 4, 8, 7])
    model = build(ModelConfig(dim=8, length=6, gate="positional", gate_rate=7.0), 30, seed=1)
    settings = TrainingConfig(batch_size=2, epochs=2, warmup=4, decay=1.0, weight_decay=0.1)
    training = Training(model, log, log, settings, seed=1, evaluation_seed=0, device=torch.device("cpu"))
    phi = dict(model.named_parameters())["gate.phi"]
    of_gate = [any(parameter is phi for parameter in group["params"]) for group in training.optimizer.param_groups]
    seen = rates_of(training)
    assert sum(of_gate) == 1
    assert len(seen) == training.progress.steps == 6
    for done, rates in enumerate(seen):
        usual = learning_rate(settings, done, steps=6)
        assert rates == pytest.approx([usual * (7.0 if gate else 1.0) for gate in of_gate])


def test_clipping_bounds_the_gradient(make_log: MakeLog) -> None:
    training = training_of(make_log, clip=1e-3)
    norms: list[float] = []
    step = training.optimizer.step

    def watched() -> None:
        gradients = [
            parameter.grad.flatten() for parameter in training.model.parameters() if parameter.grad is not None
        ]
        norms.append(float(torch.cat(gradients).norm()))
        step()

    training.optimizer.step = watched  # type: ignore[method-assign, assignment]
    training.train_epoch()
    assert norms
    assert max(norms) == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize("gate", [NO_GATE, "positional", "contextual", "alpha-entmax"])
def test_weight_decay_shrinks_the_networks_matrices_alone(make_log: MakeLog, gate: str) -> None:
    """At a learning rate of η a step multiplies by 1 − η × decay beside Adam's own part. Biases, norms, a gate's logits
    and a control's stay.
    """
    plain, decayed = training_of(make_log, gate=gate), training_of(make_log, gate=gate, weight_decay=100.0)
    before = {name: value.detach().clone() for name, value in plain.model.named_parameters()}
    for training in (plain, decayed):
        loss = training.model.loss(next(iter(batches(training))), training.draws)
        loss.objective().backward()
        training.optimizer.step()
    for (name, one), other in zip(plain.model.named_parameters(), decayed.model.parameters(), strict=True):
        own = name.startswith(("gate.", "control."))
        shrunk = torch.zeros_like(one) if one.dim() == 1 or own else 0.1 * before[name]
        torch.testing.assert_close(one - shrunk, other, rtol=0, atol=1e-6, msg=name)


def batches(training: Training):  # type: ignore[no-untyped-def]
    return training.model.training_batches(
        training.log.sequences, batch_size=2, generator=training.order["order"], draws=training.draws
    )


@pytest.mark.parametrize(("min_steps", "epochs"), [(0, 3), (9, 3), (10, 4), (13, 5), (250, 20)])
def test_patience_ends_no_training_before_its_least_steps(make_log: MakeLog, min_steps: int, epochs: int) -> None:
    """Three steps an epoch at a rate that moves nothing: the first epoch stays the best."""
    training = training_of(make_log, epochs=20, patience=2, min_steps=min_steps, learning_rate=1e-12)
    progress = training.run(on_epoch=lambda _: None)
    assert (progress.best_epoch, progress.epoch) == (1, epochs)


@pytest.mark.parametrize(
    "settings", [{"weight_decay": -1.0}, {"clip": -1.0}, {"warmup": -1}, {"decay": 1.5}, {"min_steps": -1}]
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(settings))} must"):
        TrainingConfig.from_dict(settings)


def test_what_chooses_the_weights_is_what_was_asked_for(make_log: MakeLog) -> None:
    """The best epoch of each metric, and the weights that it had; NDCG@10 in full ranking where nothing is said."""
    log = make_log(lengths=[6] * 40)
    chosen = {}
    for metric in SELECTED_BY:
        model = build(ModelConfig(dim=8, length=6), 30, seed=1)
        config = TrainingConfig(epochs=12, batch_size=8, learning_rate=1e-2, patience=12, select_by=metric)
        training = Training(model, log, log, config, seed=1, evaluation_seed=0, device=torch.device("cpu"))
        progress = training.run(on_epoch=lambda _: None)
        values = [epoch.metrics[f"validation.{metric}"] for epoch in progress.history]
        assert progress.best_value == max(values)
        assert progress.best_epoch == 1 + values.index(max(values))
        ranks = rank(model, log.sequences, log.targets["validation"], training.protocol)
        assert summary(ranks, "validation")[f"validation.{metric}"] == max(values)
        chosen[metric] = progress.best_epoch
    assert len(set(chosen.values())) > 1
    assert f"validation.{TrainingConfig().select_by}" == SELECTION_METRIC == "validation.full_unseen.ndcg_at_10"
    with pytest.raises(ValueError, match=r"select_by must be full_unseen\.ndcg_at_10 or .*, not 'ndcg'"):
        TrainingConfig(select_by="ndcg")
