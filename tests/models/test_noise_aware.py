"""What a recommender with a noise model beside it leaves out, weighs and draws anew."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.catalogue import build
from models.config import ModelConfig, TrainingConfig
from models.denoising.noise.own_score import OwnScore
from models.denoising.noise.seam import NoiseModel
from models.denoising.noise_aware import NoiseAware
from models.engine.batches import Batch, training_batches, windows
from models.engine.ranking import Protocol, rank
from models.engine.sequences import InteractionLog, Sequences, training_part
from models.engine.training import Training
from models.networks.attention import GateContext
from models.recommender import Recommender
from models.storage import load_model, save_model
from tests.models.builders import ITEMS, auroc, draws_for, planted_log
from tests.models.conftest import MakeLog

SMALL = ModelConfig(dim=8, heads=2, length=6)
BACKBONES = ("sasrec", "bert4rec", "tisasrec", "sse-pt")
ATTENTIVE = {"drop_below": 0.0, "attention_power": 2.0}


def test_the_own_score_finds_planted_noise_and_is_no_part_of_what_is_trained() -> None:
    log, noise = planted_log(kind="uniform", share=0.2)
    model = build(ModelConfig.from_dict(SMALL.to_dict() | {"noise_model": "own-score"}), ITEMS, seed=1)
    training = Training(
        model, log, log, TrainingConfig(epochs=1), seed=1, evaluation_seed=0, device=torch.device("cpu")
    )
    assert isinstance(model, NoiseAware)
    assert isinstance(model.noise, OwnScore)
    part = training_part(log.sequences)
    assert auroc(1 - model.noise.verdict(log.sequences)[part], noise[part]) > 0.8
    before = {name: value.clone() for name, value in model.noise.state_dict().items()}
    training.run(on_epoch=lambda _: None)
    assert all(torch.equal(value, before[name]) for name, value in model.noise.state_dict().items())


@pytest.mark.parametrize("robust", ["truncated", "reweighted", "generalised", "symmetric", "bootstrapped"])
def test_a_robust_loss_leaves_the_targets_weights_as_they_are(robust: str) -> None:
    log, _ = planted_log(kind="uniform", share=0.2)
    model, plain = (aware(log, target_power=1.0, robust=name) for name in (robust, "none"))
    draws = draws_for(log.sequences)  # of step 0, where a truncated loss leaves nothing out yet
    generator = torch.Generator().manual_seed(0)
    (batch,) = model.training_batches(log.sequences, batch_size=500, generator=generator, draws=draws)
    weights, expected = model.loss(batch, draws).weights, plain.loss(batch, draws).weights
    assert weights is not None
    assert expected is not None
    assert float(expected.min()) < 0.9
    torch.testing.assert_close(weights, expected)


@pytest.mark.parametrize("backbone", ["sasrec", "bert4rec"])
def test_an_inverse_propensity_is_of_the_target_in_the_log_that_is_trained_on(backbone: str) -> None:
    log, _ = planted_log(kind="uniform", share=0.2)
    model = aware(log, backbone=backbone, robust="inverse-propensity", robust_power=1.0, drop_below=0.5)
    draws, generator = draws_for(log.sequences), torch.Generator().manual_seed(0)
    (batch,) = model.training_batches(log.sequences, batch_size=500, generator=generator, draws=draws)
    weights = model.loss(batch, draws).weights
    assert weights is not None
    assert batch.targets is not None
    assert model._cleaned is not None
    cleaned = model._cleaned[1]
    counts = torch.bincount(cleaned.items[training_part(cleaned)].long(), minlength=ITEMS + 1)
    shares = counts[batch.events(batch.targets)] / counts.max()
    torch.testing.assert_close(weights, 1 / shares.clamp(min=0.1))
    assert len(weights.unique()) > 10


def test_what_is_dropped_is_out_of_the_log_and_its_neighbours_meet() -> None:
    log, noise = planted_log(kind="uniform", share=0.2)
    model = aware(log, drop_below=0.5, target_power=2.0)
    assert model.noise is not None
    verdict = model.noise.verdict(log.sequences)
    draws = draws_for(log.sequences)
    generator = torch.Generator().manual_seed(0)
    (batch,) = model.training_batches(log.sequences, batch_size=500, generator=generator, draws=draws)
    for user in (0, 17, 399):
        start = int(log.sequences.offsets[user])
        stays = [place for place in range(start, start + 28) if verdict[place] >= 0.5]
        (cells,) = torch.nonzero((batch.users == user).flatten() & (batch.segments > 0).flatten(), as_tuple=True)
        assert batch.targets is not None
        assert batch.target_keep is not None
        assert batch.targets.flatten()[cells].tolist() == log.sequences.items[stays[-6:]].tolist()
        assert torch.equal(batch.target_keep.flatten()[cells], verdict[stays[-6:]])
    loss = model.loss(batch, draws)
    assert loss.weights is not None
    assert batch.target_keep is not None
    assert torch.equal(loss.weights, batch.events(batch.target_keep) ** 2)
    told = model.diagnostics()
    dropped = (verdict < 0.5)[training_part(log.sequences)].float().mean()
    assert told["noise.dropped"] == pytest.approx(float(dropped), abs=1e-6)
    assert float(noise[verdict < 0.5].float().mean()) > 0.8


def test_a_sampled_log_has_each_event_as_often_as_it_is_likely_genuine() -> None:
    log, noise = planted_log(kind="uniform", share=0.2)
    model = aware(log, cleaning="sampled", target_power=2.0)
    assert model.noise is not None
    verdict = model.noise.verdict(log.sequences)
    assert float(verdict.min()) < 0.1
    draws, generator = draws_for(log.sequences), torch.Generator().manual_seed(0)
    marked = replace(log.sequences, items=torch.arange(1, len(verdict) + 1, dtype=torch.int32))
    model._cleaned = (marked, replace(marked, keep=verdict))
    seen = torch.zeros(len(verdict) + 1)
    epochs = 400
    for _ in range(epochs):
        (batch,) = model.training_batches(marked, batch_size=500, generator=generator, draws=draws)
        assert batch.targets is not None
        events, targets = batch.events(batch.items), batch.events(batch.targets)
        seen[targets] += 1
        # What was left out between two events is not between them any more.
        assert bool((targets > events).all())
    last = torch.arange(len(verdict)) % 30 == 27  # the newest that is trained on, a target whenever it is there
    frequency = seen[1:][last] / epochs
    off = (frequency - verdict[last]) / (verdict[last] * (1 - verdict[last]) / epochs).sqrt().clamp(min=1e-3)
    assert float(off.abs().mean()) < 1.5
    assert float(off.abs().max()) < 5
    assert float(frequency[noise[last]].mean()) < 0.65 < 0.85 < float(frequency[~noise[last]].mean())
    assert model.loss(batch_of(model, log), draws).weights is None
    told = model.diagnostics()
    stay = float(verdict[training_part(log.sequences)].mean())
    assert told["noise.dropped"] == pytest.approx(1 - stay, abs=1e-6)
    more = aware(log, cleaning="sampled", drop_events=0.25)
    assert more.diagnostics()["noise.dropped"] == pytest.approx(1 - 0.75 * stay, abs=1e-6)


def test_dropped_events_are_others_in_each_epoch_and_as_many_as_asked_for() -> None:
    log, _ = planted_log(kind="uniform", share=0.2)
    model = build(replace(SMALL, length=30, drop_events=0.25), ITEMS, seed=1)
    draws, generator = draws_for(log.sequences), torch.Generator().manual_seed(0)
    epochs = []
    for _ in range(2):
        (batch,) = model.training_batches(log.sequences, batch_size=500, generator=generator, draws=draws)
        epochs.append(torch.bincount(batch.events(batch.users), minlength=400))
    before = log.sequences.train_lengths - 1
    assert not torch.equal(*epochs)
    for left in epochs:
        assert float(left.sum() / before.sum()) == pytest.approx(0.74, abs=0.01)
    both = aware(log, length=30, cleaning="sampled", drop_events=0.25)
    assert both.noise is not None
    keep = both.noise.verdict(log.sequences)[training_part(log.sequences)]
    assert len(batch_of(both, log).cells) == pytest.approx(float(0.75 * keep.sum()) - 400, rel=0.02)


def test_a_history_is_ranked_with_by_what_is_left_of_it() -> None:
    log, _ = planted_log(kind="uniform", share=0.2)
    model = aware(log, drop_below=0.5, spare=4)
    assert model.noise is not None
    batch = windows(log.sequences, torch.arange(5), torch.full((5,), 28), length=model.length, with_targets=False)
    assert model.length == 10
    keep = model.explain(batch)["genuine"]
    alone = [model.base.query(alone_in_a_row(batch.items[row][keep[row] >= 0.5][-6:])) for row in range(5)]
    torch.testing.assert_close(model.query(batch), torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_ends_of_one_window_share_a_pass_over_what_is_left_of_it() -> None:
    log, _ = planted_log(kind="uniform", share=0.3)
    model = aware(log, drop_below=0.5, spare=4)
    users = torch.arange(12)
    batch = windows(log.sequences, users, torch.full((12,), 28), length=model.length, with_targets=False)
    keep = model.explain(batch)["genuine"]
    expected = []
    ways = Counter[str]()
    for row in range(12):
        kept = keep[row] >= 0.5
        left = batch.items[row][kept][-6:]
        hidden = model.base.query(replace(alone_in_a_row(left), ends=torch.arange(6 - len(left), 6)))
        for end in range(model.length):
            seen = int(kept[: end + 1].sum())
            place = len(left) - 1 - (int(kept.sum()) - seen)
            ways["together" if seen and place >= 0 else "before" if seen else "nothing"] += 1
            if seen and place >= 0:
                expected.append(hidden[place])
            else:
                items = batch.items[row, : end + 1]
                (found,) = model.base.query(alone_in_a_row(items[kept[: end + 1]] if seen else items))
                expected.append(found)
    assert min(ways["together"], ways["before"], ways["nothing"]) > 0
    found = model.query(replace(batch, ends=batch.cells))
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_without_power_or_doubt_attention_is_what_it_is_to_the_bit(backbone: str) -> None:
    log, _ = planted_log(kind="uniform", share=0.2, users=8)
    log = InteractionLog(replace(log.sequences, times=torch.arange(len(log.sequences.items))), log.targets)

    def stepped(*, keep: float | None, **settings: object) -> list[Tensor]:
        chosen = {"backbone": backbone, "user_dim": 4, "noise_model": "co-occurrence", "reach": 3, "drop_below": 0.0}
        model = build(ModelConfig.from_dict(SMALL.to_dict() | chosen | settings), ITEMS, seed=1, user_count=8)
        assert isinstance(model, NoiseAware)
        if keep is not None:
            assert model.noise is not None
            model.noise.keep = lambda batch: torch.full(batch.items.shape, keep)  # type: ignore[method-assign]
            model.noise.verdict = lambda sequences: torch.full((len(sequences.items),), keep)  # type: ignore[method-assign]
        return trained(model, log)

    for keep, power in ((None, 0.0), (1.0, 2.0)):
        plain = stepped(keep=keep, target_power=0.0)
        for one, other in zip(plain, stepped(keep=keep, target_power=0.0, attention_power=power), strict=True):
            assert torch.equal(one, other)
    doubtful = stepped(keep=0.5, target_power=0.0, attention_power=2.0)
    assert not torch.equal(doubtful[0], stepped(keep=0.5, target_power=0.0)[0])


@pytest.mark.parametrize("backbone", ["sasrec", "bert4rec", "tisasrec"])
def test_an_event_that_is_surely_noise_is_no_key_and_the_rest_is_not_renormalised(backbone: str) -> None:
    """In the first layer: rows of V without the event's, mixed by the same probabilities as with it."""
    log, _ = planted_log(kind="uniform", share=0.2, users=30)
    model = build(
        ModelConfig.from_dict(
            SMALL.to_dict() | {"backbone": backbone, "noise_model": "co-occurrence", "reach": 3} | ATTENTIVE
        ),
        ITEMS,
        seed=1,
    )
    assert isinstance(model, NoiseAware)
    model.prepare(log.sequences)
    assert model.noise is not None
    batch = windows(
        log.sequences, torch.arange(3), torch.full((3,), 28), length=6, with_targets=False, appended=model.appended
    )
    noise = torch.zeros(batch.items.shape, dtype=torch.bool)
    noise[:, 2] = True
    model.noise.keep = lambda shown: torch.where(noise, 0.0, 1.0)  # type: ignore[method-assign]
    expected = model.base.query(batch, gate=lambda context: torch.where(noise, 0.0, 1.0)[:, None, None, :])
    assert torch.equal(model.query(batch), expected)
    assert not torch.equal(model.query(batch), model.base.query(batch))


def test_attention_is_weighed_by_what_each_event_was_judged_in_training_and_by_its_history_in_use() -> None:
    log, _ = planted_log(kind="uniform", share=0.2)
    model = aware(log, **ATTENTIVE)
    assert model.noise is not None
    verdict = model.noise.verdict(log.sequences)
    masks: list[Tensor] = []
    encode = model.base.backbone.encode

    def recording(batch: Batch, **options: Any) -> Tensor:
        nothing = torch.zeros(0)
        context = GateContext(q=nothing, k=nothing, attention=nothing, batch=batch, layer=1)
        masks.append(batch.events(options["gate"](context)[:, 0, 0]))
        return encode(batch, **options)

    model.base.backbone.encode = recording  # type: ignore[method-assign]
    draws = draws_for(log.sequences)
    generator = torch.Generator().manual_seed(0)
    (batch,) = model.training_batches(log.sequences, batch_size=500, generator=generator, draws=draws)
    model.loss(batch, draws)
    users = batch.events(batch.users)
    places = log.sequences.offsets[users] + 27 - 6 + batch.events(batch.positions)
    assert torch.equal(batch.events(batch.items), log.sequences.items[places].long())
    torch.testing.assert_close(masks[0], verdict[places] ** 2)

    shown = windows(log.sequences, torch.arange(5), torch.full((5,), 20), length=6, with_targets=False)
    query = model.query(shown)
    judged = model.noise.keep(shown)
    torch.testing.assert_close(masks[1], shown.events(judged) ** 2)
    assert float(judged.min()) < 0.9
    later = log.sequences.items.clone()
    for user in range(5):
        later[user * 30 + 20 : user * 30 + 30] = ITEMS
    changed = replace(log.sequences, items=later)
    again = windows(changed, torch.arange(5), torch.full((5,), 20), length=6, with_targets=False)
    assert torch.equal(model.query(again), query), "what comes after a history has no influence"


def test_what_is_left_of_a_history_is_weighed_too() -> None:
    log, _ = planted_log(kind="uniform", share=0.3)
    model = aware(log, drop_below=0.5, attention_power=1.0, spare=4)
    batch = windows(log.sequences, torch.arange(12), torch.full((12,), 28), length=model.length, with_targets=False)
    keep = model.explain(batch)["genuine"]
    expected = []
    for row in range(12):
        kept = keep[row] >= 0.5
        alone = alone_in_a_row(batch.items[row][kept][-6:])
        own = torch.zeros(1, 6)
        own[0, alone.cells] = keep[row][kept][-6:]
        expected.append(model.base.query(alone, gate=lambda _, own=own: own[:, None, None, :]))  # type: ignore[misc]
    torch.testing.assert_close(model.query(batch), torch.cat(expected), rtol=1e-4, atol=1e-5)
    together = model.query(replace(batch, ends=batch.cells))
    torch.testing.assert_close(together[batch.ends], torch.cat(expected), rtol=1e-4, atol=1e-5)


def alone_in_a_row(items: Tensor) -> Batch:
    """A window of six places that holds these items."""
    history = Sequences(items.int(), torch.tensor([0, len(items)]), torch.tensor([0]), ITEMS)
    return windows(history, torch.tensor([0]), torch.tensor([len(items)]), length=6, with_targets=False)


def test_what_was_not_trained_on_is_judged_so_in_the_histories_of_another_log() -> None:
    """An item that another gave way to after the training was never counted, and the rest of its history was."""
    log, _ = planted_log(kind="uniform", share=0.2, users=60, length=12)
    model = aware(log, drop_below=0.0)
    items = log.sequences.items.clone()
    items[5] = next(item for item in range(1, ITEMS + 1) if item not in items[:12])
    other = replace(log.sequences, items=items)

    def judged(histories: Sequences) -> list[float]:
        """All that is known of the first user."""
        batch = windows(histories, torch.tensor([0]), torch.tensor([12]), length=12, with_targets=False)
        assert model.noise is not None
        return batch.events(model.noise.keep(batch)).tolist()

    counted = training_part(other)
    counted[5] = False
    found = judged(other.read_after(log.sequences))
    assert found == judged(replace(other, trained=counted))
    assert judged(other)[5] < found[5] - 0.01


def test_with_nothing_to_do_it_is_the_backbone_to_the_bit(make_log: MakeLog) -> None:
    log = make_log(lengths=[9, 4, 12, 5])
    idle = {"noise_model": "co-occurrence", "drop_below": 0.0, "target_power": 0.0}
    plain = trained(build(SMALL, 30, seed=3), log)
    for settings in (idle, {"robust": "truncated", "truncate": 0.0}):
        config = ModelConfig.from_dict(SMALL.to_dict() | settings)
        for one, other in zip(plain, trained(build(config, 30, seed=3), log), strict=True):
            assert torch.equal(one, other)
    judged = build(ModelConfig.from_dict(SMALL.to_dict() | idle | {"target_power": 1.0}), 30, seed=3)
    (batch,) = training_batches(log.sequences, length=6, batch_size=4, generator=torch.Generator().manual_seed(0))
    sure = replace(batch, target_keep=torch.ones_like(batch.real[:, :, 0]))
    losses = [
        model.loss(shown, draws_for(log.sequences))
        for model, shown in ((build(SMALL, 30, seed=3), batch), (judged, sure))
    ]
    assert torch.equal(losses[0].objective(), losses[1].objective())


def test_corrupted_inputs_are_as_many_as_asked_for_and_targets_stay(make_log: MakeLog) -> None:
    settings = {"length": 60, "corrupt_inputs": 0.25}
    batch, shown = with_corrupted_inputs(ModelConfig.from_dict(SMALL.to_dict() | settings), make_log(lengths=[80] * 40))
    assert torch.equal(shown.targets, batch.targets)  # type: ignore[arg-type]
    changed = (shown.items != batch.items).float().mean()
    assert float(changed) == pytest.approx(0.25 * 29 / 30, abs=0.03)


def test_what_is_masked_stays_masked_where_inputs_are_corrupted(make_log: MakeLog) -> None:
    """Else BERT4Rec would be asked for an item where another stands, and not where none does."""
    log = make_log(lengths=[80] * 40)
    settings = {"backbone": "bert4rec", "length": 60, "corrupt_inputs": 0.25}
    batch, shown = with_corrupted_inputs(ModelConfig.from_dict(SMALL.to_dict() | settings), log)
    masked = (
        torch.zeros_like(batch.items, dtype=torch.bool).view(-1).index_fill(0, batch.cells, True).view_as(batch.items)
    )
    assert bool((shown.items == 31)[masked].all())
    assert bool((shown.items <= 30)[~masked].all())
    changed = (shown.items != batch.items)[~masked & (batch.segments > 0)].float().mean()
    assert float(changed) == pytest.approx(0.25 * 29 / 30, abs=0.04)


def test_a_stored_model_ranks_as_the_trained_one(tmp_path: Path) -> None:
    log, _ = planted_log(kind="uniform", share=0.2, users=60)
    config = ModelConfig.from_dict(SMALL.to_dict() | {"noise_model": "co-occurrence", "spare": 3})
    model = build(config, ITEMS, seed=1)
    model.prepare(log.sequences)
    save_model(model, config, tmp_path, item_count=ITEMS)
    assert_same_ranks(model, load_model(tmp_path), log)


@pytest.mark.parametrize(
    "settings",
    [
        {"noise_model": "co-occurrence", "robust": "truncated", "truncate_ramp": 3, "corrupt_inputs": 0.1},
        {"noise_model": "co-occurrence", "reach": 3, "cleaning": "sampled"},
        {"noise_model": "popularity", "target_power": 1.0, "robust": "inverse-propensity"},
        {"noise_model": "own-score", "attention_power": 0.5},
    ],
    ids=["co-occurrence", "sampled", "popularity", "own-score"],
)
def test_a_training_goes_on_where_it_was_and_comes_out_the_same_without_learning_noise_again(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.denoising.noise.own_score.LEAST_STEPS", 90)
    log, _ = planted_log(kind="uniform", share=0.2, users=60)

    def training(epochs: int, checkpoint: Path | None = None) -> Training:
        model = build(ModelConfig.from_dict(SMALL.to_dict() | settings), ITEMS, seed=1)
        return Training(
            model, log, log, TrainingConfig(epochs=epochs, batch_size=16),
            seed=1, evaluation_seed=0, device=torch.device("cpu"), checkpoint=checkpoint,
        )  # fmt: skip

    def learned_again(*_: object) -> None:
        raise AssertionError("what the noise model has learned is in the checkpoint")

    whole = training(4)
    whole.run(on_epoch=lambda _: None)
    training(2, tmp_path / "c.pt").run(on_epoch=lambda _: None)
    with monkeypatch.context() as patched:
        patched.setattr(NoiseModel, "prepare", learned_again)
        with pytest.raises(AssertionError, match="in the checkpoint"):
            training(4)
        resumed = training(4, tmp_path / "c.pt")
        resumed.run(on_epoch=lambda _: None)
    assert told(whole) == told(resumed)
    assert 0 < told(whole)[-1]["noise.dropped"] < 1
    for name, values in whole.model.state_dict().items():
        assert torch.equal(values, resumed.model.state_dict()[name]), name


def told(training: Training) -> list[dict[str, float]]:
    """What is known of each epoch, less the time that it took."""
    return [
        {name: value for name, value in epoch.metrics.items() if not name.startswith("time.")}
        for epoch in training.progress.history
    ]


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("settings", [{"cleaning": "sampled"}, {"drop_events": 0.25}], ids=["sampled", "dropped"])
def test_what_an_epoch_leaves_of_a_log_keeps_its_time_and_its_user(backbone: str, settings: dict[str, Any]) -> None:
    log, _ = planted_log(kind="uniform", share=0.2, users=60)
    model = aware(log, backbone=backbone, user_dim=4, length=30, **settings)
    assert model.noise is not None
    verdict = model.noise.verdict(log.sequences)
    numbers = torch.arange(len(verdict))
    numbered = replace(log.sequences, items=numbers.int() + 1, times=numbers**2)  # each event has an item of its own
    model._cleaned = (numbered, replace(numbered, keep=verdict))
    order = torch.Generator().manual_seed(0)
    (batch,) = model.training_batches(numbered, batch_size=60, generator=order, draws=draws_for(log.sequences))
    assert batch.targets is not None
    assert batch.times is not None
    assert batch.keep is not None
    real = batch.segments > 0
    masks = backbone == "bert4rec"
    events = (batch.targets if masks else batch.items)[real] - 1
    assert 0.6 * 60 * 28 < len(set(events.tolist())) < 0.9 * 60 * 28
    assert torch.equal(batch.users[real], events // 30)
    assert torch.equal(batch.times[real], events**2)
    hidden = torch.zeros_like(real).flatten().index_fill(0, batch.cells, masks).view_as(real)[real]
    assert torch.equal(batch.keep[real], torch.where(hidden, 1.0, verdict[events]))
    assert torch.equal(batch.items[real][hidden], torch.full((int(hidden.sum()),), ITEMS + 1))
    if not masks:
        following = batch.targets[real] - 1
        assert torch.equal(following // 30, events // 30)
        goes_on = batch.segments[:, 1:] == batch.segments[:, :-1]
        assert torch.equal(batch.targets[:, :-1][goes_on & real[:, 1:]], batch.items[:, 1:][goes_on & real[:, 1:]])


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize(
    "settings", [{"robust": "symmetric"}, {"cleaning": "sampled", "drop_events": 0.25}], ids=["robust", "drawn"]
)
def test_every_backbone_trains_beside_it_and_ranks_as_stored(
    backbone: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    log, _ = planted_log(kind="uniform", share=0.2, users=30)
    log = InteractionLog(replace(log.sequences, times=torch.arange(len(log.sequences.items))), log.targets)
    common = {"backbone": backbone, "noise_model": "co-occurrence", "user_dim": 4}
    config = ModelConfig.from_dict(SMALL.to_dict() | common | settings)
    model, untrained = (build(config, ITEMS, seed=1, user_count=30) for _ in range(2))
    training = Training(
        model, log, log, TrainingConfig(epochs=1), seed=1, evaluation_seed=0, device=torch.device("cpu")
    )
    training.run(on_epoch=lambda _: None)
    assert torch.isfinite(model.item_table()).all()
    assert not torch.equal(model.item_table(), untrained.item_table())
    save_model(model, config, tmp_path, item_count=ITEMS, user_count=30)
    assert_same_ranks(model, load_model(tmp_path), log)


def test_a_verdict_that_leaves_nothing_is_refused() -> None:
    log, _ = planted_log(kind="uniform", share=0.2, users=30)
    model = aware(log, drop_below=0.5)
    assert model.noise is not None
    model.noise.verdict = lambda sequences: torch.zeros(len(sequences.items))  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="leaves no user two interactions"):
        model.prepare(replace(log.sequences))


def assert_same_ranks(one: Recommender, other: Recommender, log: InteractionLog) -> None:
    """In every protocol, and not all the same."""
    targets = log.targets["test"]
    protocol = Protocol.of(log.sequences, targets, seed=0)
    ranks, others = (rank(model, log.sequences, targets, protocol) for model in (one, other))
    assert len(set(ranks["full_unseen"].tolist())) > 1
    for name, values in ranks.items():
        np.testing.assert_array_equal(values, others[name])


def batch_of(model: NoiseAware, log: InteractionLog) -> Batch:
    """A training batch of all users."""
    generator = torch.Generator().manual_seed(0)
    (batch,) = model.training_batches(
        log.sequences, batch_size=log.sequences.user_count, generator=generator, draws=draws_for(log.sequences)
    )
    return batch


def aware(log: InteractionLog, **settings: Any) -> NoiseAware:
    config = {"noise_model": "co-occurrence", "reach": 3, "spare": 0, "target_power": 0.0, **settings}
    users = log.sequences.user_count
    model = build(ModelConfig.from_dict(SMALL.to_dict() | config), ITEMS, seed=1, user_count=users)
    assert isinstance(model, NoiseAware)
    model.prepare(log.sequences)
    return model


def with_corrupted_inputs(config: ModelConfig, log: InteractionLog) -> tuple[Batch, Batch]:
    """A training batch of all users, and what the backbone is shown of it."""
    model = build(config, 30, seed=3)
    assert isinstance(model, NoiseAware)
    shown: list[Batch] = []
    encode = model.base.backbone.encode

    def recording(batch: Batch, **options: Any) -> Tensor:
        shown.append(batch)
        return encode(batch, **options)

    model.base.backbone.encode = recording  # type: ignore[method-assign]
    batch = batch_of(model, log)
    model.loss(batch, draws_for(log.sequences))
    return batch, shown[0]


def trained(model: Recommender, log: InteractionLog) -> list[Tensor]:
    """The queries and weights after a step of Adam."""
    model.prepare(log.sequences)
    draws = draws_for(log.sequences)
    generator = torch.Generator().manual_seed(0)
    (batch,) = model.training_batches(log.sequences, batch_size=8, generator=generator, draws=draws)
    optimizer = torch.optim.Adam(model.parameter_groups(1e-2))
    model.loss(batch, draws).objective().backward()
    optimizer.step()
    return [model.query(batch).detach(), *(value.detach() for value in model.parameters())]
