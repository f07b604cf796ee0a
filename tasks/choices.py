"""Whether the parts that a model is put together from exist, asked before anything runs."""

from collections.abc import Iterable
from functools import cache

from models.config import ModelConfig, WrongChoice
from tasks.errors import InputError
from tasks.specs import METHODS, MethodSpec

PARTS = ("backbone", "loss", "gate", "estimator", "noise_model", "robust")
AMOUNTS = ("gamma", "drop_events", "corrupt_inputs", "contrast")
"""Settings that are parts of a model where they are more than 0."""


def check_model(config: ModelConfig) -> None:
    """Raises `models.config.WrongChoice` where a part of the model does not exist or does not go with the others."""
    if _parts(config) in _known():
        return
    # Not before it is needed: torch, which comes with it, takes seconds.
    from models.catalogue import check

    check(config)


def check_methods(methods: Iterable[MethodSpec]) -> None:
    """Raises `InputError`, with the method's name, as `check_model` does."""
    for method in methods:
        try:
            check_model(method.model)
        except WrongChoice as error:
            raise InputError(f"the method {method.name}: {error}") from None


def _parts(config: ModelConfig) -> tuple[str | bool | None, ...]:
    """Those that the model reads, None for the others, and which of the amounts it has."""
    effective = config.effective()
    return *(effective.get(part) for part in PARTS), *(effective.get(amount, 0.0) > 0 for amount in AMOUNTS)


@cache
def _known() -> frozenset[tuple[str | bool | None, ...]]:
    """The parts of the named methods."""
    return frozenset(_parts(ModelConfig.from_dict(dict(settings))) for settings in METHODS.values())
