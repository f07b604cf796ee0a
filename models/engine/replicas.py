"""Several trainings of one architecture as one stacked model: on a GPU, the launches of one for all.

A study is hundreds of networks far too small for a modern GPU. What a training is stays with `Training`: its own log,
weights, generators, validation, best weights, patience and checkpoint, which is that of a training alone. For an epoch,
the weights and the optimiser's moments of those that still train are stacked, `torch.vmap` maps the model's own loss
over them, and what was learned is handed back. So a replica that has ended takes no further part, and one that was
interrupted earlier than the others catches up first.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state

from models.engine.adam import Adam
from models.engine.batches import Batch, UnseenItems, user_batches
from models.engine.rows import clip_each
from models.engine.stacking import StackedBatch, StackedDraws, StackedStreams, joined, stacked_windows
from models.engine.training import Epoch, Training
from models.errors import Diverged

Ended = Callable[[int, Diverged | None], None]
"""Told that the training of this number has ended, and why, where it failed."""


class Replicas:
    """Trainings of models that were built from one configuration."""

    def __init__(self, trainings: Sequence[Training]) -> None:
        """Raises `ValueError` where they cannot be stacked."""
        _refuse_unlike(trainings)
        self.trainings = tuple(trainings)
        logs = [training.log.sequences for training in trainings]
        distinct = list({id(log.items): log for log in logs}.values())
        self._log = joined(distinct)
        first_users = [0, *accumulate(log.user_count for log in distinct)]
        by_items = {id(log.items): first for log, first in zip(distinct, first_users, strict=False)}
        self._first_users = [by_items[id(log.items)] for log in logs]
        self._stops = (self._log.train_lengths - 1).cpu()
        self._unseen = UnseenItems(self._log, self._log.train_lengths)

    def run(
        self,
        *,
        on_epoch: Callable[[int, Epoch], None],
        on_end: Ended,
        deadline: float | None = None,
    ) -> None:
        """Train until the epochs or the patience of each have run out; each model then holds its best weights.

        As `Training.run`, with each training's number before what is told of it; one that diverges ends alone. Seconds
        of an epoch are a replica's share of it. Raises `TimeoutError` past the deadline.
        """
        hear = [partial(on_epoch, number) for number in range(len(self.trainings))]
        for training, heard in zip(self.trainings, hear, strict=True):
            training.recall(heard)
        under_way = set(range(len(self.trainings)))
        while True:
            for number in sorted(number for number in under_way if self.trainings[number].finished):
                training = self.trainings[number]
                training.model.load_state_dict(training.best)
                under_way.remove(number)
                on_end(number, None)
            if not under_way:
                return
            epoch = min(self.trainings[number].progress.epoch for number in under_way)
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"the time limit was reached after epoch {epoch}")
            members = sorted(number for number in under_way if self.trainings[number].progress.epoch == epoch)
            started = time.monotonic()
            losses = self.train_epoch(members)
            share = (time.monotonic() - started) / len(members)
            for number, loss in zip(members, losses, strict=True):
                training, started = self.trainings[number], time.monotonic()
                try:
                    metrics = training.epoch_figures(loss) | training.validate_if_due()
                except Diverged as failure:
                    under_way.remove(number)
                    on_end(number, failure)
                    continue
                seconds = share + time.monotonic() - started
                training.end_epoch(metrics, seconds=seconds, on_epoch=hear[number])

    def train_epoch(self, members: Sequence[int]) -> list[float]:
        """One pass over the users of the trainings of these numbers, which are at the same epoch; the mean loss of
        each, be it a number or not.
        """
        trainings = [self.trainings[number] for number in members]
        stack = _Stack(trainings)
        total: Tensor | None = None
        steps = 0
        for batch in self._batches(members):
            draws = StackedDraws(
                streams=StackedStreams([training.streams for training in trainings]),
                unseen=self._unseen,
                step=trainings[0].progress.steps,
                batch=batch,
                anchor=batch.real,
            )
            losses = stack.step(batch, draws)
            total = losses if total is None else total + losses
            steps += 1
            for training in trainings:
                training.progress.steps += 1
        stack.hand_back()
        return [0.0] * len(members) if total is None else (total / steps).tolist()

    def _batches(self, members: Sequence[int]) -> Iterator[StackedBatch]:
        """An epoch's batches of the trainings of these numbers, each in its own order."""
        orders = [
            user_batches(
                self.trainings[number].log.sequences,
                batch_size=self.trainings[number].config.batch_size,
                generator=self.trainings[number].order["order"],
            )
            for number in members
        ]
        firsts = [self._first_users[number] for number in members]
        for users in zip(*orders, strict=True):
            numbered = [own + first for own, first in zip(users, firsts, strict=True)]
            stops = [self._stops[own] for own in numbered]
            yield stacked_windows(self._log, numbered, stops, length=self.trainings[members[0]].model.length)


class _Stack:
    """The weights of some trainings, and their optimisers, as one."""

    def __init__(self, trainings: Sequence[Training]) -> None:
        self.trainings = trainings
        self.first = trainings[0]
        for training in trainings:
            training.model.train()
        self.parameters, self.buffers = stack_module_state([training.model for training in trainings])
        names = {parameter: name for name, parameter in self.first.model.named_parameters()}
        optimizer = self.first.optimizer
        self.optimizer = Adam(
            [
                group | {"params": [self.parameters[names[parameter]] for parameter in group["params"]]}
                for group in optimizer.param_groups
            ],
            betas=optimizer.betas,
        )
        states = [training.optimizer.state_dict()["state"] for training in trainings]
        self.optimizer.load_state_dict({"state": [_stacked(held) for held in zip(*states, strict=True)]})

    def step(self, batch: StackedBatch, draws: StackedDraws) -> Tensor:
        """Take one; the loss of each, [replicas]."""
        self.optimizer.zero_grad()
        with self.first.running.step():
            objectives, losses = self.losses(batch, draws)
            objectives.sum().backward()
        self.first.set_rates(self.optimizer)
        if longest := self.first.config.clip:
            clip_each(self.parameters.values(), longest)
        self.optimizer.step()
        return losses.detach()

    def losses(self, batch: StackedBatch, draws: StackedDraws) -> tuple[Tensor, Tensor]:
        """The objective and the loss of each, [replicas] both: the sum of the former has the gradients of each."""

        def of_one(
            parameters: dict[str, Tensor], buffers: dict[str, Tensor], grids: dict[str, Tensor], real: Tensor
        ) -> tuple[Tensor, Tensor]:
            seen = Batch(**grids), replace(draws, anchor=real)  # type: ignore[arg-type]
            loss = functional_call(self.first.model, (parameters, buffers), seen)
            loss = replace(loss, weights=real if loss.weights is None else loss.weights * real)
            return loss.objective(), loss.data_term()

        with self.first.running.autocast(batch.real.device):
            mapped: tuple[Tensor, Tensor] = torch.vmap(of_one)(self.parameters, self.buffers, batch.grids, batch.real)
        return mapped

    @torch.no_grad()
    def hand_back(self) -> None:
        """Weights and moments to their trainings."""
        for name, parameters in self.parameters.items():
            for training, own in zip(self.trainings, parameters, strict=True):
                training.model.get_parameter(name).copy_(own)
        held = self.optimizer.state_dict()["state"]
        for number, training in enumerate(self.trainings):
            training.optimizer.load_state_dict({"state": [_own(each, number) for each in held]})


def _stacked(held: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """What an optimiser holds of one parameter of each replica. They have taken the same number of steps."""
    if not held[0]:
        return {}
    moments = {name: torch.stack([each[name] for each in held]) for name in ("mean", "square")}
    return {"step": held[0]["step"].clone(), **moments}


def _own(held: dict[str, Tensor], number: int) -> dict[str, Tensor]:
    """The inverse of `_stacked` for one replica, in memory of its own."""
    return {name: value.clone() if name == "step" else value[number].clone() for name, value in held.items()}


def _refuse_unlike(trainings: Sequence[Training]) -> None:
    """Raises `ValueError` where trainings cannot be stacked: what that takes beside one configuration of the models."""
    first = trainings[0]
    if any(training.config != first.config or training.running != first.running for training in trainings):
        raise ValueError("replicas train with the same settings, the learning rate among them: train these apart")
    if first.running.compiled:
        raise ValueError("replicas are not compiled: leave one of the two out")
    if any(_shapes(training) != _shapes(first) for training in trainings):
        raise ValueError("replicas have networks of the same shape, for as many items: train these apart")
    if any(training.steps_of_epoch != first.steps_of_epoch for training in trainings):
        raise ValueError("replicas take as many steps an epoch, as many users are trained on: train these apart")
    if any(training.touches_rows for training in trainings):
        raise ValueError("replicas update whole item tables: with table_rows touched, train each alone")
    if any(training.model.needs for training in trainings):
        raise ValueError("replicas see items alone: train a model that needs times or users alone")


def _shapes(training: Training) -> list[tuple[str, torch.Size]]:
    return [(name, value.shape) for name, value in training.model.state_dict().items()]
