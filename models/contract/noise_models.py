"""What a noise model has to keep to."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from models.config import ModelConfig
from models.contract.log import (
    CHANGES_WITH_HELD_OUT,
    ITEMS,
    SIZES,
    alike,
    not_loaded,
    small_log,
    with_others_held_out,
)
from models.denoising.noise.seam import NoiseModel, training_events
from models.engine.batches import windows
from models.engine.sequences import Sequences
from models.own import noise_model


@dataclass(frozen=True)
class Case:
    """The noise model of a configuration with the small log."""

    config: ModelConfig

    def built(self) -> NoiseModel:
        return noise_model(self.config, ITEMS)

    def learned_from(self, log: Sequences) -> NoiseModel:
        """One that has learned from a log, from the same of torch's own draws each time."""
        torch.manual_seed(9)
        model = self.built()
        model.prepare(log)
        return model

    @cached_property
    def prepared(self) -> NoiseModel:
        return self.learned_from(self.log)

    @cached_property
    def log(self) -> Sequences:
        return small_log()

    def keep(self, model: NoiseModel, users: Tensor | None = None) -> Tensor:
        """[events]: what it says of what some users, or all, may be trained on, one after another."""
        users = torch.arange(len(SIZES)) if users is None else users
        stops = self.log.train_lengths[users]
        batch = windows(self.log, users, stops, length=max(SIZES), with_targets=False)
        return batch.events(model.keep(batch))


def events_have_probabilities(case: Case) -> str | None:
    """Each a number between 0 and 1."""
    events = training_events(case.log)
    with torch.no_grad():
        genuine = case.prepared.genuine(events)
    if genuine.shape != events.items.shape:
        return f"of {len(events.items)} events `genuine` gives {list(genuine.shape)}, not [events]"
    if not bool(((genuine >= 0) & (genuine <= 1)).all()):
        return f"`genuine` gives {float(genuine.min())} to {float(genuine.max())}, not probabilities"
    return None


def a_log_is_judged_alike_again(case: Case) -> str | None:
    """By one that has learned from it anew, and by the same one."""
    first, again = case.prepared.verdict(case.log), case.prepared.verdict(case.log)
    if not alike(first, again):
        return "the same log is judged otherwise when it is asked again: draw nothing where events are judged"
    told = "what it learns from the same log is something else when it is made again: draw with torch"
    return None if alike(first, case.learned_from(case.log).verdict(case.log)) else told


def histories_are_judged_by_themselves(case: Case) -> str | None:
    """And not by others, with which they may share a row."""
    alone = torch.cat([case.keep(case.prepared, user[None]) for user in torch.arange(len(SIZES))])
    together = case.keep(case.prepared)
    told = "a history is judged otherwise beside other histories than alone: `events.owners` says whose an event is"
    return None if alike(together, alone) else told


def held_out_events_teach_nothing(case: Case) -> str | None:
    """They are what a recommender is judged by."""
    other = case.learned_from(with_others_held_out(case.log))
    same = alike(case.keep(case.prepared), case.keep(other))
    return None if same else f"what it learns from the log {CHANGES_WITH_HELD_OUT}"


def what_it_learned_is_kept(case: Case) -> str | None:
    """In what is saved of it."""
    torch.manual_seed(6)
    loaded = case.built()
    if wrong := not_loaded(loaded, case.prepared.state_dict()):
        return wrong
    told = (
        "saved and loaded it judges otherwise: what it takes from the log belongs into buffers (`torch.nn.Buffer`), "
        "which are made in its constructor"
    )
    return None if alike(case.keep(case.prepared), case.keep(loaded)) else told


RULES: tuple[Callable[[Case], str | None], ...] = (
    events_have_probabilities,
    a_log_is_judged_alike_again,
    histories_are_judged_by_themselves,
    held_out_events_teach_nothing,
    what_it_learned_is_kept,
)
"""Each says what is wrong, or nothing."""
