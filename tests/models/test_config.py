"""Which settings make a model what it is."""

from collections.abc import Mapping
from dataclasses import fields, replace
from itertools import product
from typing import Any

import pytest

from models import catalogue
from models.config import NO_GATE, UNUSED, ModelConfig

GATED = [
    *product([NO_GATE, *catalogue.CONTROLS], ["arm-per-token"]),
    *product(catalogue.GATES, catalogue.ESTIMATORS),
]
COMBINATIONS = [
    (backbone, loss, gate, estimator)
    for backbone, loss, (gate, estimator) in product(catalogue.BACKBONES, catalogue.LOSSES, GATED)
]


@pytest.mark.parametrize(("backbone", "loss", "gate", "estimator"), COMBINATIONS)
def test_the_effective_settings_are_those_that_building_the_model_reads(
    backbone: str, loss: str, gate: str, estimator: str
) -> None:
    config = ModelConfig(backbone=backbone, loss=loss, gate=gate, estimator=estimator, dim=4, heads=1, length=3)
    known = {field.name for field in fields(ModelConfig)}
    read: set[str] = set()

    class Watched(ModelConfig):
        def __getattribute__(self, name: str) -> Any:
            if name in known:
                read.add(name)
            return super().__getattribute__(name)

    watched = Watched(**config.to_dict())
    read.clear()
    catalogue.build(watched, 5, seed=0)
    assert set(config.effective()) == read
    assert config.effective() == {name: value for name, value in config.to_dict().items() if name in read}


def test_what_a_model_leaves_unread_does_not_make_it_another() -> None:
    plain, gated = ModelConfig(), ModelConfig(gate="positional")
    assert plain.effective() == replace(plain, beta=0.5, gate_logit=0.0, estimator="other").effective()
    assert plain.effective() != replace(plain, negatives=2).effective()
    assert replace(plain, loss="softmax").effective() == replace(plain, loss="softmax", negatives=2).effective()
    for change in ({"beta": 0.5}, {"gate_logit": 0.0}, {"dim": 60}, {"gate": NO_GATE}):
        assert gated.effective() != replace(gated, **change).effective()


def test_a_part_that_says_nothing_may_read_everything() -> None:
    config = ModelConfig(backbone="new", loss="new", gate="new", estimator="new", gamma=0.1)
    assert config.effective() == config.to_dict()


def test_what_is_said_to_be_unread_is_there() -> None:
    tables: dict[str, Mapping[Any, object]] = {
        "backbone": catalogue.BACKBONES,
        "loss": catalogue.LOSSES,
        "gate": {NO_GATE: None, **catalogue.GATES, **catalogue.CONTROLS},
        "estimator": catalogue.ESTIMATORS,
        "gamma": {0.0: None},
    }
    known = {field.name for field in fields(ModelConfig)}
    for (part, name), unread in UNUSED.items():
        assert name in tables[part]
        assert set(unread) <= known
