"""Recommenders and noise models of a person's own: a Python file that lies outside this project, and what makes one.

The file's text is part of the model's configuration (`ModelConfig.own_code`), so that whoever has that can build the
model: a training's process, a run that is made again, a registered model that is served elsewhere. It may import torch,
numpy, `models` and whatever else is installed.
"""

import ast
import hashlib
import inspect
import linecache
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from textwrap import shorten
from types import ModuleType
from typing import Any

import torch

from models.config import OWN_COUNTS, OWN_ENCODER, OWN_OBJECTIVE, ModelConfig, WrongChoice
from models.denoising.noise.seam import NoiseModel
from models.networks.backbone import Backbone
from models.networks.count_based import CountBased
from models.recommender import Recommender

SETTINGS = ("length", "dim", "blocks", "heads", "dropout", "norm")
"""Of a `ModelConfig`, what is handed to whoever makes a recommender, where it has a parameter of that name."""
SETTINGS_OF_NOISE = ("planted", "reach")
"""Likewise to whoever makes a noise model."""

ANY_SIZE = (3, 2)
"""Items and users of a model that is made to see what it is."""

LONGEST_SAID = 300
"""Characters of what an error says."""


@dataclass(frozen=True)
class Reference:
    """What `ModelConfig.own` or `own_noise` says: a file, the name of a class or function in it, and its settings."""

    file: str
    name: str
    settings: Mapping[str, Any]


def reference(text: str, *, setting: str = "own") -> Reference:
    """Of "FILE.py:NAME" or "FILE.py:NAME(setting=1, other='two')". Raises `WrongChoice`, for the `setting` of a
    `ModelConfig` that says so, where it is neither.
    """
    found = re.fullmatch(r"(?P<file>.+\.py):(?P<call>[^:].*)", text.strip(), re.DOTALL)
    try:
        tree = ast.parse(found["call"], mode="eval").body if found else None
    except SyntaxError:
        tree = None
    function = tree.func if isinstance(tree, ast.Call) and not tree.args else tree
    keywords = tree.keywords if isinstance(tree, ast.Call) else []
    if found and isinstance(function, ast.Name) and all(keyword.arg for keyword in keywords):
        try:
            settings = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in keywords}
            return Reference(found["file"], function.id, settings)
        except ValueError:
            pass
    raise WrongChoice(
        setting,
        f"{setting} is {text!r}: write it as FILE.py:NAME, or with settings as FILE.py:NAME(setting=1, other='two')",
    )


def encoder(config: ModelConfig, item_count: int, user_count: int) -> Backbone:
    """What is made of a configuration of `OWN_ENCODER`. Raises `WrongChoice` where that is something else."""
    made = _recommender(config, item_count, user_count)
    if not isinstance(made, Backbone):
        raise _otherwise(config, made)
    return made


def recommender(config: ModelConfig, item_count: int, user_count: int) -> Recommender:
    """What is made of a configuration of `OWN_OBJECTIVE` or `OWN_COUNTS`. Raises `WrongChoice` where that is something
    else.
    """
    made = _recommender(config, item_count, user_count)
    if not isinstance(made, Recommender) or isinstance(made, CountBased) != (config.backbone == OWN_COUNTS):
        raise _otherwise(config, made)
    return made


def noise_model(config: ModelConfig, item_count: int) -> NoiseModel:
    """What is made of a configuration of `OWN_NOISE`. Raises `WrongChoice` where that is something else."""
    offered = {"item_count": item_count} | {name: getattr(config, name) for name in SETTINGS_OF_NOISE}
    made = _made("own_noise", config.own_noise, config.own_noise_code, offered)
    if isinstance(made, NoiseModel):
        return made
    raise WrongChoice(
        "own_noise",
        f"own_noise {config.own_noise}: it makes a {type(made).__name__}, and a noise model of one's own is a "
        "`NoiseModel` (models/denoising/noise/seam.py)",
    )


def has_attention(config: ModelConfig) -> bool:
    """Does the encoder of a configuration of `OWN_ENCODER` take gates? Raises `WrongChoice` as `encoder` does."""
    return encoder(config, *ANY_SIZE).layers > 0


def backbone_of(config: ModelConfig, code: str) -> str:
    """Which of `OWN` the file whose text is `code` makes under the name that a configuration says.

    Raises `WrongChoice` where it makes none, or fails.
    """
    made = _recommender(replace(config, backbone=OWN_ENCODER, own_code=code), *ANY_SIZE)
    if isinstance(made, Backbone):
        return OWN_ENCODER
    if isinstance(made, Recommender):
        return OWN_COUNTS if isinstance(made, CountBased) else OWN_OBJECTIVE
    raise WrongChoice(
        "own",
        f"own {config.own}: it makes a {type(made).__name__}, and a recommender of one's own is a `Backbone` "
        "(models/networks/backbone.py), a `CountBased` (models/networks/count_based.py) or another `Recommender` "
        "(models/recommender.py)",
    )


def imported(code: str) -> set[str]:
    """The packages that a file's text imports, by the names that it imports them under."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return {name.partition(".")[0] for name in found}


@contextmanager
def faults_told(setting: str, text: str) -> Iterator[None]:
    """What a person's own code raises is told as `WrongChoice`, with the line of theirs that it came from; `text` is
    what the `setting` says.
    """
    try:
        yield
    except WrongChoice:
        raise
    except Exception as error:
        raise _told(setting, text, error) from error


@contextmanager
def faults_of_files_told(config: ModelConfig) -> Iterator[None]:
    """As `faults_told`, of whatever file the configuration has, what has come through a line of it. Not what runs out
    of memory, which may be there when it is tried again.
    """
    try:
        yield
    except (WrongChoice, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        for setting, text in (("own", config.own), ("own_noise", config.own_noise)):
            if text and _lines(setting, text, error):
                raise _told(setting, text, error) from error
        raise


def in_a_line(error: Exception) -> str:
    """What it is, and what it says."""
    said = str(error.msg if isinstance(error, SyntaxError) else error).split()
    return ": ".join([type(error).__name__, *filter(None, [shorten(" ".join(said), LONGEST_SAID)])])


def _told(setting: str, text: str, error: Exception) -> WrongChoice:
    lines = _lines(setting, text, error)
    where = f", line {lines[-1]}" if lines else ""
    return WrongChoice(setting, f"{setting} {text}{where}: {in_a_line(error)}")


def _lines(setting: str, text: str, error: Exception) -> list[int]:
    """Those of a person's own file that an error has come through, the innermost last."""
    file = reference(text, setting=setting).file
    if isinstance(error, SyntaxError) and error.filename == file and error.lineno:
        return [error.lineno]
    frames = traceback.extract_tb(error.__traceback__)
    return [frame.lineno for frame in frames if frame.filename == file and frame.lineno]


def _recommender(config: ModelConfig, item_count: int, user_count: int) -> Any:
    offered = {"item_count": item_count, "user_count": user_count}
    return _made("own", config.own, config.own_code, offered | {name: getattr(config, name) for name in SETTINGS})


def _made(setting: str, text: str, code: str, offered: Mapping[str, Any]) -> Any:
    """What the file's class or function gives, which `text` names. It is handed what is `offered` and it has parameters
    for, and the settings that the text gives it.
    """
    wanted = reference(text, setting=setting)
    with faults_told(setting, text):
        make = getattr(_module(wanted.file, code), wanted.name, None)
        if not callable(make):
            raise WrongChoice(setting, f"{setting} {text}: the file has no class or function {wanted.name}")
        known = inspect.signature(make).parameters
        return make(**{name: value for name, value in offered.items() if name in known} | dict(wanted.settings))


@cache
def _module(file: str, code: str) -> ModuleType:
    """The file's text as a module, of which tracebacks show the lines."""
    module = ModuleType(f"rec_denoiser_own_{hashlib.sha256(f'{file}/{code}'.encode()).hexdigest()[:16]}")
    module.__file__ = file
    linecache.cache[file] = (len(code), None, code.splitlines(keepends=True), file)
    compiled = compile(code, file, "exec")
    sys.modules[module.__name__] = module  # where dataclasses look for it
    exec(compiled, module.__dict__)
    return module


def _otherwise(config: ModelConfig, made: object) -> WrongChoice:
    return WrongChoice(
        "own",
        f"own {config.own}: it makes a {type(made).__name__} now, and was taken for one that is {config.backbone}",
    )
