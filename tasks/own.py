"""Recommenders of a person's own: the file that a method names is read, and what it makes is held to the contract."""

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

from models.config import ModelConfig
from tasks.home import PROJECT_ROOT
from tasks.paths import path_named

LONGEST_NAME = 60
_SUFFIX = ".py:"


def is_own(name: str) -> bool:
    """Is it no method's name, but a file and what in it makes a recommender?"""
    return _SUFFIX in name


def method_name(own: str) -> str:
    """What tables call it that is asked for by its file alone: "a.py:MovingMean(size=3)" is moving-mean-size-3."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", own.partition(_SUFFIX)[2]).lower()
    return re.sub(r"[^a-z0-9.]+", "-", words).strip("-.")[:LONGEST_NAME]


def completed(config: ModelConfig) -> ModelConfig:
    """A configuration that names an own recommender, with the text of its file and its kind; any other as it is.

    A path is relative to the folder that one is in, or else to the project's. Raises `ValueError` where the file cannot
    be read, or what it makes does not keep to the contract (`models.contract`).
    """
    if not config.own or config.own_code:
        return config
    return _checked(config, _text(config.own))


@cache
def _checked(config: ModelConfig, code: str) -> ModelConfig:
    # Not before it is needed: torch, which comes with it, takes seconds.
    from models.catalogue import check
    from models.contract import check_contract
    from models.own import backbone_of

    if config.backbone != ModelConfig.backbone:
        raise ValueError(f"own {config.own}: it takes the place of the backbone {config.backbone}: leave that out")
    whole = replace(config, backbone=backbone_of(config, code), own_code=code)
    check(whole)
    check_contract(whole)
    return whole


def _text(own: str) -> str:
    """What the file holds."""
    from models.own import reference

    named = path_named(reference(own).file, by="own")
    path = next((each for each in (named, PROJECT_ROOT / named) if each.is_file()), None)
    if path is None:
        raise ValueError(f"own {own}: there is no file {named} (a path is relative to {Path.cwd()})")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"own {own}: {named} cannot be read as a Python file: {error}") from None
