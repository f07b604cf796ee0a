"""What is of a person's own in a method: the file that it names is read, and what that makes held to the contract."""

import re
import tokenize
from dataclasses import replace
from functools import cache
from pathlib import Path

from models.config import NO_NOISE_MODEL, OWN_NOISE, ModelConfig
from tasks.home import PROJECT_ROOT
from tasks.paths import path_named

LONGEST_NAME = 60
STAY_BEHIND = {"benchmarks", "flows", "sql", "studies", "tasks", "tests", "tools"}
"""Of this project, what no registered model takes along."""
_SUFFIX = ".py:"


def is_own(name: str) -> bool:
    """Is it no method's name, but a file and what in it makes a recommender?"""
    return _SUFFIX in name


def method_name(own: str) -> str:
    """What tables call it that is asked for by its file alone: "a.py:MovingMean(size=3)" is moving-mean-size-3."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", own.partition(_SUFFIX)[2]).lower()
    words = re.sub(r"(?<=[=(\[, ])-(?=[\d.])", "minus-", words)
    return re.sub(r"[^a-z0-9.]+", "-", words).strip("-.")[:LONGEST_NAME]


def completed(config: ModelConfig) -> ModelConfig:
    """A configuration that names an own recommender or noise model, with the text of its file and its kind; any other
    as it is.

    A path is relative to the folder that one is in, or else to the project's. Raises `ValueError` where the file cannot
    be read, or what it makes does not keep to the contract (`models.contract`).
    """
    own = _text("own", config.own) if config.own and not config.own_code else ""
    noise = _text("own_noise", config.own_noise) if config.own_noise and not config.own_noise_code else ""
    return _checked(config, own, noise) if own or noise else config


@cache
def _checked(config: ModelConfig, own: str, noise: str) -> ModelConfig:
    # Not before it is needed: torch, which comes with it, takes seconds.
    from models.catalogue import check
    from models.contract.check import check_contract
    from models.own import backbone_of

    if own:
        _refuse("own", config.own, own, beside=("backbone", config.backbone, ModelConfig.backbone))
        config = replace(config, backbone=backbone_of(config, own), own_code=own)
    if noise:
        _refuse("own_noise", config.own_noise, noise, beside=("noise model", config.noise_model, NO_NOISE_MODEL))
        config = replace(config, noise_model=OWN_NOISE, own_noise_code=noise)
    check(config)
    check_contract(config)
    return config


def _refuse(setting: str, text: str, code: str, *, beside: tuple[str, str, str]) -> None:
    """Raises `ValueError` where a file imports what a registered model leaves behind, and where what it makes is to
    take the place of another: `beside` is what that is, what was said of it, and what is said where nothing was.
    """
    from models.own import imported

    what, said, usual = beside
    if said != usual:
        raise ValueError(f"{setting} {text}: it takes the place of the {what} {said}: leave that out")
    if left := sorted(imported(code) & STAY_BEHIND):
        raise ValueError(
            f"{setting} {text}: it imports {', '.join(left)}, and of this project a registered model takes nothing "
            "along but models: import from there, and copy the rest"
        )


def _text(setting: str, said: str) -> str:
    """What the file holds that a setting names."""
    from models.own import reference

    named = path_named(reference(said, setting=setting).file, by=setting)
    path = next((each for each in (named, PROJECT_ROOT / named) if each.is_file()), None)
    if path is None:
        raise ValueError(f"{setting} {said}: there is no file {named} (a path is relative to {Path.cwd()})")
    try:
        with tokenize.open(path) as file:  # as Python reads it: a mark of UTF-8, or another encoding that is said
            return file.read()
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise ValueError(f"{setting} {said}: {named} cannot be read as a Python file: {error}") from None
