"""How settings are drawn: at random, or by what the trials before have shown. The same seed, the same draws."""

import hashlib
from typing import Any, Protocol

import numpy as np

from tasks.study.settings import Settings
from tasks.tuning.space import Choices, Dimension, Space, drawn
from tasks.tuning.specs import SamplerSpec

Token = Any
"""What a sampler knows a draw by."""


class Sampler(Protocol):
    """Draws settings, and hears what came of them: higher is better, None is a failure or a draw that nobody used."""

    def ask(self) -> tuple[Settings, Token]: ...

    def tell(self, token: Token, value: float | None) -> None: ...

    def hear(self, settings: Settings, value: float) -> None:
        """Learn from settings that were not drawn here."""


def sampler_of(spec: SamplerSpec, space: Space, *, method: str) -> Sampler:
    """The sampler of one method's search: what it draws depends on no other method."""
    seed = seed_of(spec, method)
    return RandomSampler(space, seed=seed) if spec.kind == "random" else TpeSampler(space, seed=seed, spec=spec)


def seed_of(spec: SamplerSpec, method: str) -> int:
    """A seed of the method's own."""
    return int.from_bytes(hashlib.sha256(f"{spec.seed}/{method}".encode()).digest()[:4])


class RandomSampler:
    """Every draw by itself."""

    def __init__(self, space: Space, *, seed: int) -> None:
        self._space = space
        self._rng = np.random.default_rng(seed)

    def ask(self) -> tuple[Settings, Token]:
        return drawn(self._space, self._rng), None

    def tell(self, token: Token, value: float | None) -> None:
        """Nothing is learnt."""

    def hear(self, settings: Settings, value: float) -> None:
        """Nothing is learnt."""


class TpeSampler:
    """Optuna's tree-structured Parzen estimator over all settings together (Bergstra et al., NeurIPS 2011). What has
    been drawn and is not known yet counts as bad, so that the draws of a round differ.
    """

    def __init__(self, space: Space, *, seed: int, spec: SamplerSpec) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = space
        self._distributions = {name: _distribution(dimension) for name, dimension in space.items()}
        sampler = optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=spec.startup, multivariate=True, constant_liar=True
        )
        self._study = optuna.create_study(direction="maximize", sampler=sampler)

    def ask(self) -> tuple[Settings, Token]:
        trial = self._study.ask(self._distributions)
        rounded = {name: _rounded(self._space[name], value) for name, value in trial.params.items()}
        return {name: rounded[name] for name in self._space}, trial

    def tell(self, token: Token, value: float | None) -> None:
        from optuna.trial import TrialState

        if value is None:
            self._study.tell(token, state=TrialState.FAIL)
        else:
            self._study.tell(token, value)

    def hear(self, settings: Settings, value: float) -> None:
        """What lies outside the space is nothing to learn from here."""
        from optuna.trial import create_trial

        if all(dimension.holds(settings[name]) for name, dimension in self._space.items()):
            self._study.add_trial(create_trial(params=settings, distributions=self._distributions, value=value))


def _rounded(dimension: Dimension, value: Any) -> Any:
    return value if isinstance(dimension, Choices) else dimension.rounded(value)


def _distribution(dimension: Dimension) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(dimension, Choices):
        return CategoricalDistribution(dimension.values)
    if dimension.whole:
        return IntDistribution(int(dimension.low), int(dimension.top), log=dimension.log, step=int(dimension.step or 1))
    return FloatDistribution(dimension.low, dimension.top, log=dimension.log, step=dimension.step)
