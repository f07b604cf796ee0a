"""The training loop: batches by gathers, no synchronisation a step, resumable at every epoch.

Validation chooses the weights and stops the training; the promotion and the test split are never looked at.
"""

import contextlib
import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.config import FULL_PRECISION, PRECISIONS, TrainingConfig
from models.engine.adam import Adam
from models.engine.batches import Batch, UnseenItems
from models.engine.compiled import Compilable, CompiledLoss, compiling
from models.engine.files import written_whole
from models.engine.metrics import VALIDATED, summary
from models.engine.randomness import Streams, derived_seed
from models.engine.ranking import Protocol, rank
from models.engine.rows import by_rows, clip, in_place
from models.engine.sequences import InteractionLog
from models.errors import Diverged
from models.recommender import Draws, Recommender

Losses = Callable[[Batch, Draws], tuple[Tensor, Tensor]]
"""What the optimiser descends, and the loss that is told."""


@dataclass(frozen=True)
class Running:
    """How a step is computed, which changes its digits and nothing of what it means.

    compiled: its loss and gradients by `torch.compile` (`models.engine.compiled`)
    precision: a name in `models.config.PRECISIONS`
    """

    compiled: bool = False
    precision: str = FULL_PRECISION

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {self.precision!r}")

    def autocast(self, device: torch.device) -> contextlib.AbstractContextManager[object]:
        """What a step's forward pass runs in."""
        lower = self.precision == "bf16"
        return torch.autocast(device.type, torch.bfloat16) if lower else contextlib.nullcontext()

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """What the forward and the backward pass run in. Raises `NotCompiled` for what the compiler raises."""
        usual = torch.get_float32_matmul_precision()
        if self.precision == "tf32":
            torch.set_float32_matmul_precision("high")
        try:
            with compiling():
                yield
        finally:
            torch.set_float32_matmul_precision(usual)


AS_IT_IS = Running()


@dataclass(frozen=True)
class Epoch:
    """What is known after an epoch. `timestamp` is in milliseconds since 1970; `warnings` are sentences."""

    epoch: int
    timestamp: int
    metrics: dict[str, float]
    warnings: list[str] = field(default_factory=list)


@dataclass
class Progress:
    """Where a training stands: all that a checkpoint needs beside the weights and the generators.

    `collapsed_epoch`: the first after which a part of the model had switched itself off.
    """

    history: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0
    best_value: float = -1.0
    collapsed_epoch: int | None = None
    steps: int = 0
    seconds: float = 0.0

    @property
    def epoch(self) -> int:
        return self.history[-1].epoch if self.history else 0


class Training:
    """One model on one log under one configuration."""

    def __init__(
        self,
        model: Recommender,
        log: InteractionLog,
        clean: InteractionLog,
        config: TrainingConfig,
        *,
        seed: int,
        evaluation_seed: int,
        device: torch.device,
        running: Running = AS_IT_IS,
        checkpoint: Path | None = None,
    ) -> None:
        """`seed` is that of every draw. `clean` is the log without injected noise: the validation protocol is its.
        `checkpoint` is written after each epoch; where it exists, the training goes on from it.

        Raises `ValueError` where there is nothing to train on or to validate with, or a step that is to be compiled
        moves touched rows alone.
        """
        self.config = config
        self.seed = seed
        self.running = running
        self.checkpoint = checkpoint
        self.model = model.to(device)
        self.log = log.to(device)
        clean = clean.to(device)
        sequences = self.log.sequences
        if not bool((sequences.train_lengths > 1).any()):
            raise ValueError("no user has two interactions to train on")
        if not len(self.log.targets["validation"]):
            raise ValueError(
                "no user has a validation target, which choose the weights: hold more of the log out for validation, "
                "or give less of it to promotion"
            )
        if "times" in model.needs and sequences.times is None:
            raise ValueError("the model needs time stamps, which the log does not have")
        self.protocol = Protocol.of(clean.sequences, clean.targets["validation"], seed=evaluation_seed)
        self.streams = Streams(seed, Draws.NAMES, device=device)
        self.order = Streams(seed, ("order",), device=torch.device("cpu"))
        self.draws = Draws(self.streams, UnseenItems(sequences, sequences.train_lengths))
        held = None if checkpoint is None or not checkpoint.exists() else self._read(checkpoint)
        self._seed_globally("prepare")
        if held is None:
            self.model.prepare(sequences)
        else:
            self.model.load_state_dict(held["model"])
            self.model.resume(sequences)
        trainable = int((sequences.train_lengths > 1).sum())
        self.steps_of_epoch = math.ceil(trainable / self.config.batch_size)
        tables = self.model.row_tables()
        self.touches_rows = self.config.touches_rows(sequences.item_count, possible=bool(tables))
        if running.compiled and self.touches_rows:
            raise ValueError("a step that updates touched rows alone cannot be compiled: leave one of the two out")
        self._losses = losses_of(self.model, running, device=device)
        for table in tables:
            if self.touches_rows:
                by_rows(table)
            elif device.type == "cpu" and not running.compiled:
                in_place(table)
        self.optimizer = _optimizer(self.model, self.config)
        self.progress = Progress()
        self._ended_steps = 0
        self.best = held["best"] if held is not None else _copied(self.model)
        if held is not None:
            self._stand(held)

    def run(self, *, on_epoch: Callable[[Epoch], None], deadline: float | None = None) -> Progress:
        """Train until the epochs or the patience run out; the model then holds the best weights.

        `on_epoch` hears of the epochs before the checkpoint as well, and of each other one when that is written.
        `deadline` is on the monotonic clock. Raises `TimeoutError` past it, with the checkpoint in place, and
        `Diverged` where the loss or the scores stop being numbers.
        """
        self.recall(on_epoch)
        while not self.finished:
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"the time limit was reached after epoch {self.progress.epoch}")
            started = time.monotonic()
            metrics = self.train_epoch() | self.validate_if_due()
            self.end_epoch(metrics, seconds=time.monotonic() - started, on_epoch=on_epoch)
        self.model.load_state_dict(self.best)
        return self.progress

    def recall(self, on_epoch: Callable[[Epoch], None]) -> None:
        """Have `on_epoch` hear of the epochs so far."""
        for epoch in self.progress.history:
            on_epoch(epoch)

    @property
    def finished(self) -> bool:
        """Have the epochs or the patience run out?"""
        progress, config = self.progress, self.config
        waited = (progress.epoch - progress.best_epoch) // config.validate_every
        impatient = progress.best_epoch > 0 and waited >= config.patience and progress.steps >= config.min_steps
        return progress.epoch >= config.epochs or impatient

    def end_epoch(self, metrics: dict[str, float], *, seconds: float, on_epoch: Callable[[Epoch], None]) -> None:
        """Take down that an epoch has been trained, in so many seconds."""
        number = self.progress.epoch + 1
        self.progress.seconds += seconds
        self._ended_steps = self.progress.steps
        if self.progress.collapsed_epoch is None and self.model.collapsed():
            self.progress.collapsed_epoch = number
        figures = metrics | {"time.epoch_seconds": seconds}
        self.progress.history.append(
            Epoch(number, int(time.time() * 1000), figures, warnings=list(self.model.warnings()))
        )
        if self.checkpoint is not None:
            self.save(self.checkpoint)
        on_epoch(self.progress.history[-1])

    def train_epoch(self) -> dict[str, float]:
        """One pass over the users; the mean loss and the model's own figures."""
        self.model.train()
        self._seed_globally(f"epoch {self.progress.epoch + 1}")
        total: Tensor | None = None
        steps = 0
        for batch in self.model.training_batches(
            self.log.sequences,
            batch_size=self.config.batch_size,
            generator=self.order["order"],
            draws=self.draws,
        ):
            value = self._gradients(batch)
            self._step()
            total = value if total is None else total + value
            steps += 1
            self.progress.steps += 1
        self.optimizer.settle()
        return self.epoch_figures(None if total is None else float(total) / steps)

    def _gradients(self, batch: Batch) -> Tensor:
        """Put those of a batch in place; its loss."""
        self._seed_globally(f"step {self.progress.steps + 1}")
        with self.running.step():
            objective, loss = self._losses(batch, replace(self.draws, step=self.progress.steps))
            self.optimizer.zero_grad()
            objective.backward()
        return loss.detach()

    def _seed_globally(self, use: str) -> None:
        """Have a model that draws from torch's own generators draw the same again for the same use."""
        if self.model.draws_globally:
            torch.manual_seed(derived_seed(self.seed, use))

    def epoch_figures(self, mean_loss: float | None) -> dict[str, float]:
        """What is known of an epoch's training; there is no loss where no step was taken. Raises `Diverged` where the
        loss is no number any more.
        """
        if mean_loss is None:
            return self.model.diagnostics()
        if not math.isfinite(mean_loss):
            raise Diverged(
                f"the training loss is {mean_loss} in epoch {self.progress.epoch + 1}: the training has diverged, "
                "which a lower learning rate may prevent"
            )
        return {"train.loss": mean_loss} | self.model.diagnostics()

    def set_rates(self, optimizer: Adam) -> None:
        """Have `optimizer` take its next step at the rate that is configured for the training's next one. Where an
        epoch has fewer steps than the log has batches, as of a log that a noise model cleans, the rate moves on at its
        end; where it has more, as an own recommender's may, the rate waits for it.
        """
        within_epoch = min(self.progress.steps - self._ended_steps, self.steps_of_epoch)
        done = self.progress.epoch * self.steps_of_epoch + within_epoch
        rate = learning_rate(self.config, done, steps=self.config.epochs * self.steps_of_epoch)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["rate"]

    def validate_if_due(self) -> dict[str, float]:
        """The metrics of the epoch that is about to end, where the training validates after it."""
        number = self.progress.epoch + 1
        if number % self.config.validate_every and number != self.config.epochs:
            return {}
        return self._validate(number)

    def _step(self) -> None:
        """The optimiser's next step, at the rate and with the clipping that are configured."""
        self.set_rates(self.optimizer)
        if self.config.clip:
            clip(self.model.parameters(), self.config.clip)
        self.optimizer.step()

    def _validate(self, epoch: int) -> dict[str, float]:
        ranks = rank(self.model, self.log.sequences, self.log.targets["validation"], self.protocol)
        metrics = summary(ranks, "validation")
        value = metrics[f"validation.{self.config.select_by}"]
        if value > self.progress.best_value:
            self.progress.best_value = value
            self.progress.best_epoch = epoch
            self.keep_as_best()
        return {name: metrics[name] for name in VALIDATED}

    def keep_as_best(self) -> None:
        """Into the tensors that are there: a second copy of a large item table would come to its memory."""
        for name, value in self.model.state_dict().items():
            self.best[name].copy_(value)

    def save(self, path: Path) -> None:
        state = {
            "model": self.model.state_dict(),
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "streams": self.streams.state_dict(),
            "order": self.order.state_dict(),
            "progress": asdict(self.progress),
        }
        with written_whole(path) as file:
            torch.save(state, file)

    def restore(self, path: Path) -> None:
        """Stand where the training stood when it was saved."""
        state = self._read(path)
        self.model.load_state_dict(state["model"])
        self.best = state["best"]
        self._stand(state)

    def _read(self, path: Path) -> dict[str, Any]:
        state: dict[str, Any] = torch.load(path, map_location=self.log.sequences.device, weights_only=True)
        return state

    def _stand(self, state: Mapping[str, Any]) -> None:
        """Where a checkpoint says, whose weights the model has."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.streams.load_state_dict(state["streams"])
        self.order.load_state_dict(state["order"])
        progress = state["progress"]
        self.progress = Progress(**(progress | {"history": [Epoch(**epoch) for epoch in progress["history"]]}))
        self._ended_steps = self.progress.steps


def losses_of(model: Recommender, running: Running, *, device: torch.device) -> Losses:
    """A batch's losses of `model`, computed as is asked for.

    Raises `ValueError` where its step cannot be compiled.
    """

    def plain(batch: Batch, draws: Draws) -> tuple[Tensor, Tensor]:
        with running.autocast(device):
            loss = model.loss(batch, draws)
        return loss.objective(), loss.data_term()

    def compiled(batch: Batch, draws: Draws) -> tuple[Tensor, Tensor]:
        with running.autocast(device):
            mean = mean_loss(batch, draws)
        return mean, mean

    if running.compiled:
        if not isinstance(model, Compilable) or model.needs or model.appended is not None:
            raise ValueError("this model's step cannot be compiled: see COMPILED in models/config.py")
        mean_loss = CompiledLoss(model, device=device)
    return compiled if running.compiled else plain


def learning_rate(config: TrainingConfig, done: int, *, steps: int) -> float:
    """The rate of the step after `done` of `steps`: a linear rise over the warm-up, then a linear fall."""
    if done < config.warmup:
        return config.learning_rate * (done + 1) / config.warmup
    fallen = (done - config.warmup) / max(steps - config.warmup, 1)
    return config.learning_rate * (1 - config.decay * fallen)


def _optimizer(model: Recommender, config: TrainingConfig) -> Adam:
    """Weight decay leaves biases, norms and groups with a decay of their own as they are."""
    groups = model.parameter_groups(config.learning_rate)
    halves = [group for group in groups if "weight_decay" in group]
    halves += [
        group | {"params": params, "weight_decay": decay}
        for group in groups
        if "weight_decay" not in group
        for params, decay in (
            ([parameter for parameter in group["params"] if parameter.dim() > 1], config.weight_decay),
            ([parameter for parameter in group["params"] if parameter.dim() <= 1], 0.0),
        )
        if params
    ]
    return Adam(halves, betas=(0.9, config.beta2))


def _copied(model: Recommender) -> dict[str, Tensor]:
    return copy.deepcopy({name: value.detach() for name, value in model.state_dict().items()})
