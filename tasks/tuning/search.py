"""One method's search: which settings are tried next, and which were best."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pydantic import ValidationError

from models.config import WrongChoice
from tasks.specs import CellSpec
from tasks.study.settings import Settings, experiment
from tasks.tuning.expand import Method, Tuning
from tasks.tuning.samplers import Token, sampler_of, seed_of
from tasks.tuning.space import drawn, every, size

ASKED = 50
"""How often the sampler is asked for settings that were not tried yet, before they are drawn at random."""

ENUMERATED = 10_000
"""A space of so many combinations is gone through to its last."""


@dataclass(frozen=True, eq=False)
class Trial:
    """Settings of a method, with a cell for each seed of the search. The first trial, 0, is the method as it comes."""

    method: str
    number: int
    settings: Settings
    specs: tuple[CellSpec, ...]

    def label(self, spec: CellSpec) -> str:
        """What tells one of its cells from the others."""
        return label_of(spec, self.number)


class Search:
    """The trials of one method, round by round. No experiment is proposed twice; which ones are depends on the file
    and on what the earlier rounds gave, and not on the order in which trainings end.
    """

    def __init__(self, method: Method, tuning: Tuning) -> None:
        spec = tuning.spec
        self.method = method
        self.exhausted = False
        self._left = spec.trials
        self._round = spec.sampler.round
        self._seeds = spec.seeds
        self._sampler = sampler_of(spec.sampler, method.space, method=method.name)
        self._rng = np.random.default_rng([seed_of(spec.sampler, method.name), 1])
        self._tokens: dict[int, Token] = {}
        self._taken: set[str] = set()
        self._proposed = 0

    @property
    def to_come(self) -> int:
        """How many trials have not been proposed yet, at most."""
        return self._left

    def propose(self) -> tuple[Trial, ...]:
        """The trials of the next round, none where there is nothing left to try."""
        trials: list[Trial] = []
        while len(trials) < self._round and self._left:
            trial = self._next()
            if trial is None:
                self.exhausted, self._left = True, 0
                break
            trials.append(trial)
            self._left -= 1
        return tuple(trials)

    def tell(self, trial: Trial, value: float | None) -> None:
        """What came of a trial: the metric, or None where it failed. In the order of the trials."""
        if trial.number in self._tokens:
            self._sampler.tell(self._tokens[trial.number], value)
        elif value is not None:
            self._sampler.hear(trial.settings, value)

    def _next(self) -> Trial | None:
        if not self._proposed:
            return self._accepted(self.method.own(self.method.space))
        for _ in range(ASKED):
            settings, token = self._sampler.ask()
            trial = self._accepted(settings)
            if trial is not None:
                self._tokens[trial.number] = token
                return trial
            self._sampler.tell(token, None)
        return next((trial for settings in self._at_random() if (trial := self._accepted(settings))), None)

    def _at_random(self) -> Iterator[Settings]:
        """Settings from anywhere in the space; of a small one all that there are, in a random order."""
        space = self.method.space
        if size(space) <= ENUMERATED:
            combinations = list(every(space))
            yield from (combinations[number] for number in self._rng.permutation(len(combinations)))
        else:
            yield from (drawn(space, self._rng) for _ in range(ASKED))

    def _accepted(self, settings: Settings) -> Trial | None:
        """The next trial with these settings, None where they were tried already or do not go together."""
        try:
            specs = tuple(self.method.cell(settings, seed=seed) for seed in self._seeds)
        except (ValidationError, WrongChoice):
            return None
        identity = experiment(specs[0])
        if identity in self._taken:
            return None
        self._taken.add(identity)
        self._proposed += 1
        return Trial(self.method.name, self._proposed - 1, settings, specs)


def label_of(spec: CellSpec, number: int) -> str:
    """The label of a cell of the trial of that number."""
    return f"{spec.method}, trial {number}, noise {spec.noise.described}, seed {spec.seed}"


def mean_or_none(values: list[float | None]) -> float | None:
    """The mean over a trial's seeds, None where one of them failed or is no finite number."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    return math.fsum(known) / len(known) if len(known) == len(values) else None
