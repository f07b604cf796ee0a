"""A study's or a search's file as it is written, with what the command line sets over it: values, and where each of
them stands.
"""

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tasks.errors import InputError
from tasks.sources.addresses import setting_without_secrets

Where = tuple[str | int, ...]
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
"""What YAML 1.2 and people take for a number, and YAML 1.1 for text: 1e-3."""


@dataclass(frozen=True)
class Form:
    """What a kind of file has: its parts, which of them are mappings or lists, of which mappings the values are lists,
    and how `--set` is written. `command` lists those that are shipped.
    """

    what: str
    command: str
    parts: tuple[str, ...]
    mappings: tuple[str, ...]
    lists: tuple[str, ...]
    mappings_of_lists: tuple[str, ...]
    overrides: str


STUDY = Form(
    what="study",
    command="study",
    parts=("name", "question", "base", "axes", "include", "exclude", "reference", "execution"),
    mappings=("base", "axes", "execution"),
    lists=("include", "exclude"),
    mappings_of_lists=("axes",),
    overrides="base.SETTING=VALUE, axes.SETTING=[VALUE, VALUE], execution.SETTING=VALUE "
    "or as one of name, question, reference, include and exclude with =VALUE",
)


@dataclass(frozen=True)
class Document:
    """The values of a file, and by path (keys and numbers of elements) where they were written."""

    values: Mapping[str, Any]
    places: Mapping[Where, str]

    def is_override(self, path: Where) -> bool:
        """Was this set over the file?"""
        return self.places.get(path, "").startswith("--set ")

    @property
    def is_as_written(self) -> bool:
        """Is nothing set over the file?"""
        return not any(map(self.is_override, self.places))

    def fault(self, path: Where, message: str) -> InputError:
        """An error about what stands at `path`, or else at the nearest place above it."""
        while path and path not in self.places:
            path = path[:-1]
        return InputError(f"{self.places[path]}: {message}")


def read_document(path: Path, overrides: Iterable[str] = (), *, form: Form = STUDY) -> Document:
    """Read a file of that form, then apply `--set` texts such as "axes.seed=[1, 2]", the later over the earlier.

    A part with nothing in it is as if it were left out. Raises `InputError` where the file cannot be read, and, with
    the line, where it is no YAML mapping, where a key stands twice or is unknown, and where a part is not of its kind.
    """
    if not path.is_file():
        raise InputError(f"{path} is no file: `rec-denoiser {form.command}` lists those that come with the project")
    places: dict[Where, str] = {(): str(path)}
    values = _composed(_text_of(path), str(path), (), places)
    if not isinstance(values, dict):
        raise InputError(f"{path} holds no {form.what}: a mapping with {', '.join(form.parts)}")
    document = Document(values, places)
    for key in values:
        if key not in form.parts:
            raise document.fault((key,), unknown(f"part of a {form.what}", key, form.parts))
    _check_kinds(document, values, form)
    for text in overrides:
        _override(values, places, text, form)
    _check_kinds(document, values, form)
    return document


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """A sentence about a name that does not exist, with the nearest that does."""
    known = list(known)
    by_end = {each.rsplit(".", 1)[-1]: each for each in known}
    nearest = difflib.get_close_matches(name, known, n=1) or [
        by_end[end] for end in difflib.get_close_matches(name.rsplit(".", 1)[-1], by_end, n=1)
    ]
    meant = f": did you mean {nearest[0]!r}?" if nearest else f": there are {', '.join(known)}"
    return f"there is no {what} {name!r}{meant}"


def _text_of(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(f"{path}, line {line}: this is no UTF-8: save the file in that encoding") from None


def _check_kinds(document: Document, values: dict[str, Any], form: Form) -> None:
    """Put an empty one where a mapping or a list is missing or has nothing in it, and refuse what is neither."""
    for kind, what, parts in ((dict, "mapping", form.mappings), (list, "list", form.lists)):
        for part in parts:
            if values.get(part) is None:
                values[part] = kind()
            if not isinstance(values[part], kind):
                raise document.fault((part,), f"{part} has to be a {what}")


def _override(values: dict[str, Any], places: dict[Where, str], text: str, form: Form) -> None:
    name, mark, written = text.partition("=")
    place = f"--set {setting_without_secrets(text)}"
    part, _, setting = name.strip().partition(".")
    nested = part in form.mappings
    if not mark or part not in form.parts or nested != bool(setting):
        raise InputError(f"{place}: write it as {form.overrides}")
    path: Where = (part, setting) if nested else (part,)
    for written_before in [each for each in places if each[: len(path)] == path]:
        del places[written_before]
    value = _composed(written, place, path, places)
    # Whatever is wrong inside a value, the whole option is short enough to be shown.
    for inside in [each for each in places if each[: len(path)] == path]:
        places[inside] = place
    places[path] = place
    if not nested:
        values[part] = value
        return
    # Of settings that say the same in two ways the last holds.
    values[part].pop(setting, None)
    values[part][setting] = [value] if part in form.mappings_of_lists and not isinstance(value, list) else value


def _composed(text: str, place: str, at: Where, places: dict[Where, str]) -> Any:
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        return None if node is None else _value(loader, node, place, at, places)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{place}{line}: this is no YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{place}: this is no YAML: {error}") from None
    except RecursionError:
        raise InputError(f"{place}: this holds itself, or is nested too deeply to be read") from None


def _value(loader: yaml.SafeLoader, node: yaml.Node, place: str, at: Where, places: dict[Where, str]) -> Any:
    """A node's value; notes the line of every key and element on the way."""
    if isinstance(node, yaml.SequenceNode):
        elements = []
        for number, element in enumerate(node.value):
            places[(*at, number)] = f"{place}, line {element.start_mark.line + 1}"
            elements.append(_value(loader, element, place, (*at, number), places))
        return elements
    if isinstance(node, yaml.MappingNode):
        held: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = f"{place}, line {key_node.start_mark.line + 1}"
            key = loader.construct_object(key_node)
            if not isinstance(key, str):
                raise InputError(f"{line}: a key has to be a name, which {key!r} is not")
            if key in held:
                raise InputError(f"{line}: {key!r} stands there twice")
            places[(*at, key)] = line
            held[key] = _value(loader, value_node, place, (*at, key), places)
        return held
    try:
        value = loader.construct_object(node)
    except ValueError:
        raise InputError(
            f"{places.get(at, place)}: {node.value!r} looks like a date or a number, and is none: put it in quotes"
        ) from None
    plain = isinstance(node, yaml.ScalarNode) and node.style is None
    if plain and isinstance(value, str) and NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{places.get(at, place)}: {node.value} is no number that can be reckoned with")
    return value
