"""Recommenders of a person's own: a Python file that lies outside this project, and what in it makes one.

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
from types import ModuleType
from typing import Any

from models.config import OWN_COUNTS, OWN_ENCODER, OWN_OBJECTIVE, ModelConfig, WrongChoice
from models.networks.backbone import Backbone
from models.networks.count_based import CountBased
from models.recommender import Recommender

SETTINGS = ("length", "dim", "blocks", "heads", "dropout", "norm")
"""Of a `ModelConfig`, what is handed to whoever makes a model, where it has a parameter of that name."""

ANY_SIZE = (3, 2)
"""Items and users of a model that is made to see what it is."""


@dataclass(frozen=True)
class Reference:
    """What `ModelConfig.own` says: a file, the name of a class or function in it, and settings that it is given."""

    file: str
    name: str
    settings: Mapping[str, Any]


def reference(text: str) -> Reference:
    """Of "FILE.py:NAME" or "FILE.py:NAME(setting=1, other='two')". Raises `WrongChoice` where it is neither."""
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
        "own", f"own is {text!r}: write it as FILE.py:NAME, or with settings as FILE.py:NAME(setting=1, other='two')"
    )


def encoder(config: ModelConfig, item_count: int, user_count: int) -> Backbone:
    """What is made of a configuration of `OWN_ENCODER`. Raises `WrongChoice` where that is something else."""
    made = _made(config, item_count, user_count)
    if not isinstance(made, Backbone):
        raise _otherwise(config, made)
    return made


def recommender(config: ModelConfig, item_count: int, user_count: int) -> Recommender:
    """What is made of a configuration of `OWN_OBJECTIVE` or `OWN_COUNTS`. Raises `WrongChoice` where that is something
    else.
    """
    made = _made(config, item_count, user_count)
    if not isinstance(made, Recommender) or isinstance(made, CountBased) != (config.backbone == OWN_COUNTS):
        raise _otherwise(config, made)
    return made


def has_attention(config: ModelConfig) -> bool:
    """Does the encoder of a configuration of `OWN_ENCODER` take gates? Raises `WrongChoice` as `encoder` does."""
    return encoder(config, *ANY_SIZE).layers > 0


def backbone_of(config: ModelConfig, code: str) -> str:
    """Which of `OWN` the file whose text is `code` makes under the name that a configuration says.

    Raises `WrongChoice` where it makes none, or fails.
    """
    made = _made(replace(config, backbone=OWN_ENCODER, own_code=code), *ANY_SIZE)
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
def faults_told(config: ModelConfig) -> Iterator[None]:
    """What a person's own code raises is told as `WrongChoice`, with the line of theirs that it came from."""
    try:
        yield
    except WrongChoice:
        raise
    except Exception as error:
        file = reference(config.own).file
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        if isinstance(error, SyntaxError):
            lines = [error.lineno]
        where = f", line {lines[-1]}" if lines else ""
        said = str(error.msg if isinstance(error, SyntaxError) else error).strip().splitlines()[:1]
        told = ": ".join([type(error).__name__, *said])
        raise WrongChoice("own", f"own {config.own}{where}: {told}") from error


def _made(config: ModelConfig, item_count: int, user_count: int) -> Any:
    """What the file's class or function gives. It is handed those of `item_count`, `user_count` and `SETTINGS` that it
    has parameters for, and what `config.own` says.
    """
    wanted = reference(config.own)
    with faults_told(config):
        module = _module(wanted.file, config.own_code)
        make = getattr(module, wanted.name, None)
        if not callable(make):
            raise WrongChoice("own", f"own {config.own}: the file has no class or function {wanted.name}")
        offered = {"item_count": item_count, "user_count": user_count}
        offered |= {name: getattr(config, name) for name in SETTINGS}
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
