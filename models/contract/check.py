"""Whether what is of a person's own (`models.own`) in a configuration keeps to the contract, asked before anything is
trained.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from models.config import OWN, OWN_NOISE, ModelConfig, WrongChoice
from models.contract import noise_models, recommenders
from models.own import faults_told

Case = TypeVar("Case")


def check_contract(config: ModelConfig) -> None:
    """Raises `WrongChoice`, with the first rule that what is of a person's own in a configuration breaks, or with what
    its code raises.
    """
    if config.backbone in OWN:
        _hold("own", config.own, recommenders.RULES, recommenders.Case(config))
    if config.noise_model == OWN_NOISE:
        _hold("own_noise", config.own_noise, noise_models.RULES, noise_models.Case(config))


def _hold(setting: str, text: str, rules: Sequence[Callable[[Case], str | None]], case: Case) -> None:
    with faults_told(setting, text), torch.random.fork_rng(devices=[]):
        for breach in (rule(case) for rule in rules):
            if breach is not None:
                raise WrongChoice(setting, f"{setting} {text}: {breach}")
