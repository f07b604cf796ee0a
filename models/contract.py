"""What a recommender has to keep to, asked of a person's own (`models.own`) on a small random log.

A look at later events, or at the targets, is told here, before anything is trained, and not by figures too good to be
true.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor

from models.catalogue import build
from models.config import OWN, OWN_NOISE, ModelConfig, WrongChoice
from models.denoising.noise.seam import NoiseModel
from models.engine.batches import Batch, UnseenItems, windows
from models.engine.randomness import Streams
from models.engine.sequences import Sequences
from models.networks.backbone import NextItem
from models.own import SETTINGS, faults_told, noise_model
from models.recommender import Draws, Recommender

Held = TypeVar("Held", "Case", "NoiseCase")

ITEMS = 30
SIZES = (5, 2, 9, 3, 7, 1, 4, 6)
"""Events of the small log's users."""
APART = 1e-4
"""By how much of the largest a number may be off where it should be the same: rounding alone."""


def check_contract(config: ModelConfig) -> None:
    """Raises `WrongChoice`, with the first rule that what is of a person's own in a configuration breaks, or with what
    its code raises.
    """
    if config.backbone in OWN:
        _hold("own", config.own, RULES, Case(config))
    if config.noise_model == OWN_NOISE:
        _hold("own_noise", config.own_noise, RULES_OF_NOISE, NoiseCase(config))


def _hold(setting: str, text: str, rules: Sequence[Callable[[Held], str | None]], case: Held) -> None:
    with faults_told(setting, text), torch.random.fork_rng(devices=[]):
        for breach in (rule(case) for rule in rules):
            if breach is not None:
                raise WrongChoice(setting, f"{setting} {text}: {breach}")


def small_log() -> Sequences:
    """Random histories with times, of which every event may be trained on."""
    generator = torch.Generator().manual_seed(3)
    sizes = torch.tensor(SIZES)
    events = int(sizes.sum())
    return Sequences(
        items=torch.randint(1, ITEMS + 1, (events,), generator=generator).int(),
        offsets=torch.cat([sizes.new_zeros(1), sizes.cumsum(0)]),
        train_lengths=sizes,
        item_count=ITEMS,
        times=torch.randint(1, 10**9, (events,), generator=generator).sort().values,
    )


@dataclass(frozen=True)
class Case:
    """A configuration with the small log. What goes with the recommender, such as a gate, takes no part."""

    config: ModelConfig

    def built(self) -> Recommender:
        kept = (*SETTINGS, "backbone", "own", "own_code", "loss")
        plain = ModelConfig(**{name: getattr(self.config, name) for name in kept})
        return build(plain, ITEMS, seed=1, user_count=len(SIZES))

    @cached_property
    def prepared(self) -> Recommender:
        """One that has taken from the log what it keeps of it."""
        torch.manual_seed(2)
        model = self.built()
        model.prepare(self.log)
        return model

    @cached_property
    def log(self) -> Sequences:
        return small_log()

    def training_windows(self) -> Batch:
        """Windows with targets, as a causal encoder is shown them; of their last events there are two at the least."""
        users = torch.nonzero(self.log.train_lengths > 2).squeeze(1)
        stops = self.log.train_lengths[users] - 1
        return windows(self.log, users, stops, length=self.prepared.length, with_targets=True)

    def scores(self, model: Recommender, users: Tensor | None = None) -> Tensor:
        """[users, items]: of some users' whole histories, or of all."""
        users = torch.arange(len(SIZES)) if users is None else users
        stops = self.log.train_lengths[users]
        batch = windows(self.log, users, stops, length=model.length, with_targets=False, appended=model.appended)
        model.eval()
        with torch.no_grad():
            return model.scorer()(batch)

    def draws(self) -> Draws:
        """Those of a training's first step: the same each time, torch's own generator included."""
        torch.manual_seed(4)
        streams = Streams(5, Draws.NAMES, device=torch.device("cpu"))
        return Draws(streams, UnseenItems(self.log, self.log.train_lengths))


def weights_follow_from_the_seed(case: Case) -> str | None:
    """So that a run can be made again."""
    first, second = case.built().state_dict(), case.built().state_dict()
    unlike = [name for name, value in first.items() if not torch.equal(value, second[name])]
    told = "is drawn anew each time it is made: draw with torch, whose generator has the training's seed"
    return f"{unlike[0]} {told}" if unlike else None


def every_cell_is_encoded(case: Case) -> str | None:
    """As [rows, length, dim], where it is an encoder."""
    model, batch = case.prepared, case.training_windows()
    if not isinstance(model, NextItem):
        return None
    with torch.no_grad():
        shape = model.backbone.encode(batch).shape
    well = len(shape) == 3 and shape[:2] == batch.items.shape
    return None if well else f"of {list(batch.items.shape)} cells `encode` gives {list(shape)}, not [rows, length, dim]"


def every_item_has_a_score(case: Case) -> str | None:
    """A finite one, by `query` and `item_table` or by a `scorer` of its own."""
    scores = case.scores(case.prepared)
    if scores.shape != (len(SIZES), ITEMS):
        return (
            f"for {len(SIZES)} histories and {ITEMS} items its scores are {list(scores.shape)}: `query` gives "
            "[histories, dim] and `item_table` [items + 1, dim], or `scorer` what gives [histories, items]"
        )
    return None if bool(torch.isfinite(scores).all()) else "untrained it has scores that are no finite numbers"


def scores_are_the_same_again(case: Case) -> str | None:
    """Ranking draws nothing, and drops nothing out."""
    same = _same(case.scores(case.prepared), case.scores(case.prepared))
    return None if same else "the same history has other scores when it is asked again: draw nothing in evaluation"


def scores_do_not_depend_on_company(case: Case) -> str | None:
    """A history's scores alone are those beside others, with which it may share a row."""
    alone = torch.cat([case.scores(case.prepared, user[None]) for user in torch.arange(len(SIZES))])
    told = (
        "a history has other scores beside other histories than alone: several share a row, and `batch.visible` and "
        "`batch.segments` say which events are of one history"
    )
    return None if _same(case.scores(case.prepared), alone) else told


def state_is_whole(case: Case) -> str | None:
    """What is saved of it is all that it ranks with."""
    torch.manual_seed(6)
    loaded = case.built()
    loaded.load_state_dict(case.prepared.state_dict())
    told = (
        "saved and loaded it has other scores: what it takes from the log belongs into buffers (`torch.nn.Buffer`), "
        "which are made in its constructor"
    )
    return None if _same(case.scores(case.prepared), case.scores(loaded)) else told


def encoder_sees_the_past_alone(case: Case) -> str | None:
    """Neither later events nor targets, in training or in evaluation. One that has `masking` is shown no targets, and
    may see both sides.
    """
    model = case.prepared
    if not isinstance(model, NextItem) or model.backbone.masking is not None:
        return None
    batch = case.training_windows()
    assert batch.targets is not None
    last = torch.zeros_like(batch.items, dtype=torch.bool).flatten().index_fill(0, batch.ends, True)
    earlier = batch.cells[~last[batch.cells]]
    with_other_ends = replace(batch, items=_others(batch.items, last.view_as(batch.items)))
    with_other_targets = replace(batch, targets=_others(batch.targets, batch.targets > 0))
    for training in (True, False):
        model.train(training)
        hidden = [_hidden(model, each) for each in (batch, with_other_ends, with_other_targets)]
        if not _same(hidden[0][earlier], hidden[1][earlier]):
            return (
                "what it makes of an event changes with a later event of the same history, which it is to be trained "
                "to predict: `batch.visible` says what an event may see, and a normalisation over the batch sees all"
            )
        if not _same(hidden[0][batch.cells], hidden[2][batch.cells]):
            return "what it makes of an event changes with the targets, which it is to be trained to predict"
    return None


def steps_teach(case: Case) -> str | None:
    """The first step of a training has a loss, the same each time, with a gradient. What counts has no step."""
    if case.config.is_count_based:
        return None
    model = case.prepared.train()
    first, again = (_first_loss(case, model) for _ in range(2))
    if first is None or again is None:
        return "its epochs have no batch: what only counts is a `CountBased` (models/networks/count_based.py)"
    if not bool(torch.isfinite(first).all()):
        return "the loss of its first step is no finite number"
    if not _same(first, again):
        return "the same step has another loss when it is taken again: draw with torch, or from `draws`"
    if not again.requires_grad:
        return "the loss of a step has no gradient"
    again.backward()
    reached = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return None if any(bool(gradient.any()) for gradient in reached) else "the gradient of a step is nought"


RULES: tuple[Callable[[Case], str | None], ...] = (
    weights_follow_from_the_seed,
    every_cell_is_encoded,
    every_item_has_a_score,
    scores_are_the_same_again,
    scores_do_not_depend_on_company,
    state_is_whole,
    encoder_sees_the_past_alone,
    steps_teach,
)
"""Each says what is wrong, or nothing."""


@dataclass(frozen=True)
class NoiseCase:
    """The noise model of a configuration with the small log."""

    config: ModelConfig

    def built(self) -> NoiseModel:
        return noise_model(self.config, ITEMS)

    def learned(self) -> NoiseModel:
        """One that has learned from the log, from the same of torch's own draws each time."""
        torch.manual_seed(9)
        model = self.built()
        model.prepare(self.log)
        return model

    @cached_property
    def prepared(self) -> NoiseModel:
        return self.learned()

    @cached_property
    def log(self) -> Sequences:
        return small_log()

    def keep(self, model: NoiseModel, users: Tensor | None = None) -> Tensor:
        """[events]: what it says of some users' whole histories, or of all, one after another."""
        users = torch.arange(len(SIZES)) if users is None else users
        stops = self.log.train_lengths[users]
        batch = windows(self.log, users, stops, length=max(SIZES), with_targets=False)
        return batch.events(model.keep(batch))


def events_have_probabilities(case: NoiseCase) -> str | None:
    """Each a number between 0 and 1."""
    events = len(case.log.items)
    for said, values in (("verdict", case.prepared.verdict(case.log)), ("keep", case.keep(case.prepared))):
        if values.shape != (events,):
            return f"of {events} events `{said}` gives {list(values.shape)}, not [events]"
        if not bool(((values >= 0) & (values <= 1)).all()):
            return f"`{said}` gives {float(values.min())} to {float(values.max())}, not probabilities"
    return None


def a_log_is_judged_alike_again(case: NoiseCase) -> str | None:
    """By one that has learned from it anew, and by the same one."""
    first, again = case.prepared.verdict(case.log), case.prepared.verdict(case.log)
    if not _same(first, again):
        return "the same log is judged otherwise when it is asked again: draw nothing where events are judged"
    told = "what it learns from the same log is something else when it is made again: draw with torch"
    return None if _same(first, case.learned().verdict(case.log)) else told


def histories_are_judged_by_themselves(case: NoiseCase) -> str | None:
    """And not by others, with which they may share a row."""
    alone = torch.cat([case.keep(case.prepared, user[None]) for user in torch.arange(len(SIZES))])
    together = case.keep(case.prepared)
    told = "a history is judged otherwise beside other histories than alone: `events.owners` says whose an event is"
    return None if _same(together, alone) else told


def what_it_learned_is_kept(case: NoiseCase) -> str | None:
    """In what is saved of it."""
    torch.manual_seed(6)
    loaded = case.built()
    loaded.load_state_dict(case.prepared.state_dict())
    told = (
        "saved and loaded it judges otherwise: what it takes from the log belongs into buffers (`torch.nn.Buffer`), "
        "which are made in its constructor"
    )
    return None if _same(case.keep(case.prepared), case.keep(loaded)) else told


RULES_OF_NOISE: tuple[Callable[[NoiseCase], str | None], ...] = (
    events_have_probabilities,
    a_log_is_judged_alike_again,
    histories_are_judged_by_themselves,
    what_it_learned_is_kept,
)
"""Likewise, for noise models."""


def _same(first: Tensor, second: Tensor) -> bool:
    """But for rounding, and with what is no number in the same places."""
    largest = max(1.0, float(first.detach().abs().nan_to_num().max()))
    return torch.allclose(first, second, rtol=0, atol=APART * largest, equal_nan=True)


def _others(items: Tensor, where: Tensor) -> Tensor:
    """Other items of the catalogue at these places."""
    return torch.where(where, items % ITEMS + 1, items)


def _hidden(model: NextItem, batch: Batch) -> Tensor:
    """[cells, dim], with the same of torch's own draws each time."""
    torch.manual_seed(7)
    with torch.no_grad():
        return model.backbone.encode(batch).flatten(0, 1)


def _first_loss(case: Case, model: Recommender) -> Tensor | None:
    """What the optimiser would descend in a training's first step; None where there is none."""
    draws = case.draws()
    order = torch.Generator().manual_seed(8)
    batches = model.training_batches(case.log, batch_size=4, generator=order, draws=draws)
    batch = next(iter(batches), None)
    return None if batch is None else model.loss(batch, draws).objective()
