"""What is asked of a model's parts before anything runs."""

from typing import Any

import pytest

from models.config import ModelConfig, WrongChoice
from tasks.choices import check_model
from tasks.specs import METHODS


def test_every_named_method_is_made_of_parts_that_exist() -> None:
    for settings in METHODS.values():
        check_model(ModelConfig.from_dict(dict(settings)))


@pytest.mark.parametrize(
    ("settings", "setting", "said"),
    [
        ({"backbone": "sasrek"}, "backbone", "did you mean 'sasrec'"),
        ({"noise_model": "co-ocurrence"}, "noise_model", "did you mean 'co-occurrence'"),
        ({"robust": "truncatd"}, "robust", "did you mean 'truncated'"),
        ({"gate": "positional", "noise_model": "co-occurrence"}, "gate", "without a gate"),
        ({"gamma": 0.1, "drop_events": 0.2}, "gamma", "without a gate and Jacobian term"),
        ({"robust": "co-teaching", "drop_events": 0.2}, "robust", "two plain networks"),
        ({"backbone": "bert4rec", "loss": "softmax", "contrast": 0.1}, "contrast", "choose from sasrec, tisasrec"),
    ],
)
def test_parts_that_do_not_exist_or_go_together_are_refused(settings: dict[str, Any], setting: str, said: str) -> None:
    """Also where the others are a named method's."""
    with pytest.raises(WrongChoice, match=said) as refused:
        check_model(ModelConfig.from_dict(settings))
    assert refused.value.setting == setting
