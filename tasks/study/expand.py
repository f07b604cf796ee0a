"""From a study's file to its cells."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from models.config import WrongChoice
from tasks.data_specs import NO_FILTER
from tasks.sources.addresses import without_secrets_in
from tasks.sources.datasets import named_after
from tasks.specs import CellSpec, ExecutionSpec, StudySpec, effective_filter
from tasks.study.document import Document, Where, read_document, unknown
from tasks.study.settings import (
    EXECUTION,
    Settings,
    bundle,
    cell_spec,
    dataset_settings,
    experiment,
    first_fault,
    flattened,
    laid_over,
    method_settings,
    named_settings,
    names,
)

Axes = dict[str, Any]
"""By axis the value, of a bundle its name."""

READ_WITH_NOISE = ("noise.kind", "noise.where", "noise.seed", "noise.taken_out")
TOLD_ELSEWHERE = ("dataset", "method", "seed", "noise.kind", "noise.ratio", "noise.where", "noise.taken_out")
"""Axes that a cell's label has words for."""
CALLED = {"noise.seed": "noise seed", "filter.by": "filtered by", "filter.below": "filtered below"}
"""Axes whose last word alone would not do in a label."""


@dataclass(frozen=True)
class StudyCell:
    """A cell with the values of the axes that it reads."""

    axes: Axes
    label: str
    spec: CellSpec


@dataclass(frozen=True)
class Study:
    """A study with its cells. `axes` are all of them with all their values; `notes` what a person should know."""

    spec: StudySpec
    axes: Mapping[str, tuple[Any, ...]]
    cells: tuple[StudyCell, ...]
    notes: tuple[str, ...]


def read_study(path: Path, overrides: Iterable[str] = ()) -> Study:
    """The study of a file, with what `--set` sets over it.

    Raises `InputError`, with file and line, on an unknown name, a value that cannot be, a cell that is there twice, an
    axis that nothing reads and a reference that matches no cell.
    """
    return expanded(read_document(path, overrides))


def expanded(document: Document) -> Study:
    """The study of a document; raises as `read_study` does."""
    values = document.values
    base = base_settings(document)
    axes = [_axis(document, axis, ("axes", axis), written) for axis, written in values["axes"].items()]
    _check_paths(document, base, axes)
    excluded = [_Selector(document, ("exclude", number), axes) for number in range(len(values["exclude"]))]
    drafts = [
        draft
        for draft in map(_Draft, product(*(axis.values for axis in axes)))
        if not any(selector.takes(draft, base) for selector in excluded)
    ]
    for number, wanted in enumerate(values["include"]):
        drafts += map(_Draft, product(*_included(document, wanted, ("include", number), axes)))
    if not drafts:
        raise document.fault((), "the study has no cell: exclude leaves none")
    several = len({draft.settings(base).get("dataset") for draft in drafts}) > 1
    cells, unread = _cells(document, base, drafts, name_dataset=several)
    _check_effect(document, base, axes, cells)
    _check_overrides(document, base, drafts)
    spec = _spec(document, reference=values.get("reference", cells[0].spec.method))
    _check_reference(document, spec.reference, cells)
    notes = [*unread, *(selector.complaint for selector in excluded if not selector.met)]
    return Study(
        spec=spec,
        axes={axis.name: tuple(value.label for value in axis.values) for axis in axes},
        cells=tuple(cells),
        notes=tuple(notes),
    )


def base_settings(document: Document) -> Settings:
    """The settings of every cell. A log set over the file's is no longer the same data set, and is named after
    its own file unless it is given a name; a public data set set over the file's is its own log.
    """
    base = flattened(document, document.values["base"], ("base",))
    set_over = {name: held for name, held in base.items() if document.is_override(base_path(document, name))}
    if document.is_override(("base", "dataset")):
        said = dataset_settings(document, document.values["base"]["dataset"], ("base", "dataset"))
        return laid_over(base, said | set_over)
    path = set_over.get("source.path")
    return laid_over(base, {**set_over, "dataset": named_after(path)} if isinstance(path, str) else set_over)


@dataclass(frozen=True)
class _Value:
    """A value of an axis: what tables call it, and what it sets. A label of None leaves the axis as the base has it."""

    axis: str
    label: Any
    settings: Settings
    path: Where


@dataclass(frozen=True)
class _Axis:
    name: str
    values: tuple[_Value, ...]
    path: Where


@dataclass(frozen=True)
class _Draft:
    """A cell that is not checked yet."""

    values: tuple[_Value, ...]

    def settings(self, base: Settings) -> Settings:
        """A method sets first, so that an axis may change what the method leaves to it; then what stands for several
        settings, so that an axis of one of them holds what it says.
        """
        said: Settings = {}
        for value in self._ordered():
            said |= value.settings
        return laid_over(base, said)

    def origins(self, document: Document, base: Settings) -> dict[str, Where]:
        """By setting, where what it is in the end was written."""
        found = {name: base_path(document, name) for name in base}
        for value in self._ordered():
            found |= dict.fromkeys(value.settings, value.path)
        return found

    def axes(self) -> Axes:
        return {value.axis: value.label for value in self.values if value.label is not None}

    def _ordered(self) -> list[_Value]:
        return sorted(self.values, key=lambda value: (value.axis != "method", len(value.settings) == 1))


class _Selector:
    """An element of `exclude`: which cells it takes."""

    def __init__(self, document: Document, path: Where, axes: Sequence[_Axis]) -> None:
        wanted = document.values["exclude"][path[1]]
        if not isinstance(wanted, Mapping) or not wanted:
            raise document.fault(path, "write the axes and the values of the cells to be left out")
        known = [axis.name for axis in axes]
        for name in wanted:
            if name not in known and name not in names():
                raise document.fault((*path, name), unknown("axis", name, known))
        listed = {name: held if isinstance(held, list) else [held] for name, held in wanted.items()}
        self._wanted = without_secrets_in(listed)
        self.complaint = str(document.fault(path, "this exclude matches no cell"))
        self.met = False

    def takes(self, draft: _Draft, base: Settings) -> bool:
        held = draft.settings(base) | draft.axes()
        taken = all(name in held and without_secrets_in(held[name]) in values for name, values in self._wanted.items())
        self.met = self.met or taken
        return taken


def _axis(document: Document, name: str, path: Where, written: Any) -> _Axis:
    if not isinstance(written, list) or not written:
        raise document.fault(path, f"the axis {name} has to be a list of values")
    values = tuple(
        _value_of(document, name, value, (*path, number), several=written) for number, value in enumerate(written)
    )
    labels = [value.label for value in values]
    for number, label in enumerate(labels):
        if label in labels[:number]:
            raise document.fault((*path, number), f"the axis {name} has {label!r} twice: its cells would be duplicates")
    return _Axis(name, values, path)


def _value_of(document: Document, axis: str, value: Any, path: Where, *, several: Sequence[Any]) -> _Value:
    if axis == "method":
        settings = method_settings(document, value, path)
        return _Value(axis, settings["method"], settings, path)
    if axis == "dataset":
        settings = dataset_settings(document, value, path)
        return _Value(axis, settings["dataset"], settings, path)
    if axis in names():
        if isinstance(value, Mapping | list) or value is None:
            raise document.fault(path, f"{axis} takes one value at a time")
        return _Value(axis, without_secrets_in(value), {axis: value}, path)
    if not all(isinstance(each, Mapping) and "name" in each for each in several):
        raise document.fault(path[:2], unknown("setting", axis, names()))
    return _Value(axis, value["name"], bundle(document, value, path), path)


def _included(document: Document, wanted: Any, path: Where, axes: Sequence[_Axis]) -> Iterator[Sequence[_Value]]:
    """The values of each axis that an element of `include` is crossed from: its own where it names the axis."""
    if not isinstance(wanted, Mapping) or not wanted:
        raise document.fault(path, "write the settings of the cells to be added")
    for axis in axes:
        if axis.name not in wanted:
            yield axis.values
    by_name = {axis.name: axis for axis in axes}
    for name, held in wanted.items():
        here = (*path, name)
        if held is None and name in by_name:
            yield (_Value(name, None, {}, here),)
            continue
        listed = held if isinstance(held, list) else [held]
        known = {value.label: value for value in by_name[name].values} if name in by_name else {}
        yield tuple(
            known[value]
            if isinstance(value, str) and value in known
            else _value_of(document, name, value, here, several=listed)
            for value in listed
        )


def _cells(
    document: Document, base: Settings, drafts: Sequence[_Draft], *, name_dataset: bool
) -> tuple[list[StudyCell], list[str]]:
    """The cells of the drafts, each once, and where drafts became one cell because they differ in what is not read."""
    cells: dict[str, StudyCell] = {}
    shrunk: dict[tuple[str, str], int] = {}
    unread_by: dict[str, tuple[str, ...]] = {}
    for draft in drafts:
        spec = _cell_spec(document, base, draft)
        unread = tuple(value.axis for value in draft.values if value.settings and not _reads(spec, value))
        axes = {axis: label for axis, label in draft.axes().items() if axis not in unread}
        identity = experiment(spec)
        label = _label(spec, axes, name_dataset=name_dataset)
        for axis in unread:
            who = _who(spec, axis)
            shrunk[axis, who] = shrunk.get((axis, who), 0) + 1
        if identity in cells:
            found = cells[identity]
            if found.axes == axes and unread and unread_by[identity]:
                continue
            message = f"the cell {label!r} is there twice" if label == found.label else (
                f"the cells {found.label!r} and {label!r} are the same experiment"
            )  # fmt: skip
            raise document.fault(draft.values[-1].path if draft.values else (), message)
        if any(found.label == label and found.axes == axes for found in cells.values()):
            told = f"two cells are called {label!r} and are not the same: give the method of one a name of its own"
            raise document.fault(draft.values[-1].path if draft.values else (), told)
        cells[identity] = StudyCell(axes, label, spec)
        unread_by[identity] = unread
    notes = [f"{who} {'do' if ' ' in who else 'does'} not read {axis}: each such cell is there once"
             for axis, who in shrunk]  # fmt: skip
    return list(cells.values()), notes


def _reads(spec: CellSpec, value: _Value) -> bool:
    """Does the cell read any of what a value sets?"""
    return any(reads(spec, name) for name in value.settings)


def reads(spec: CellSpec, name: str) -> bool:
    """Does what comes of a cell depend on the setting of that name?"""
    part, _, field = name.partition(".")
    if part in ("model", "filter"):
        return field in (spec.model.effective() if part == "model" else effective_filter(spec.filter))
    return name not in READ_WITH_NOISE or spec.noise.ratio > 0


def _who(spec: CellSpec, axis: str) -> str:
    """Who does not read an axis."""
    part = axis.split(".")[0]
    if part == "noise":
        return "cells without noise"
    if part == "filter":
        return "cells without a filter" if spec.filter.by == NO_FILTER else f"cells filtered by {spec.filter.by}"
    return spec.method


def _cell_spec(document: Document, base: Settings, draft: _Draft) -> CellSpec:
    settings = draft.settings(base)
    _check_fixed(document, base, draft)
    if "method" not in settings:
        raise document.fault(("base",), "no method is named: write base.method or the axis method")
    try:
        return cell_spec(settings)
    except ValidationError as error:
        name, message = first_fault(error)
        where = blamed(document, draft.origins(document, base), name, message)
        raise document.fault(where, f"{name}: {message}" if name else message) from None
    except WrongChoice as error:
        where = blamed(document, draft.origins(document, base), f"model.{error.setting}", str(error))
        raise document.fault(where, str(error)) from None


def blamed(document: Document, origins: Mapping[str, Where], name: str, message: str) -> Where:
    """Where that was written which a message about a setting, or about all those under it, complains of: what it names
    before what it does not, and what is set over the file before what stands there. `origins`: where each was written.
    """
    words = set(re.findall(r"\w+", message))
    under = {setting: path for setting, path in origins.items() if f"{setting}.".startswith(f"{name}.")}
    named = [path for setting, path in under.items() if setting.rsplit(".", 1)[-1] in words]
    ranked = [path for path in named if document.is_override(path)] or named
    ranked = ranked or [path for path in under.values() if document.is_override(path)] or list(under.values())
    return [*ranked, base_path(document, name)][0]


def base_path(document: Document, name: str) -> Where:
    """Where the base sets a setting, of several places the last, which holds; or else where it sets one under it."""
    written = {path: ".".join(map(str, path[1:])) for path in document.places if path[:1] == ("base",)}
    exact = [path for path, held in written.items() if held == name]
    under = [path for path, held in written.items() if held.startswith(f"{name}.")]
    return [*exact[-1:], *under, ("base",)][0]


def _check_fixed(document: Document, base: Settings, draft: _Draft) -> None:
    """Refuse what a method fixes and the base or another axis sets otherwise: its name would no longer be true."""
    method = next((value for value in draft.values if value.axis == "method"), None)
    label, fixed = (method.label, method.settings) if method else (base.get("method"), named_settings(base))
    others = [(base_path(document, name), name, held) for name, held in base.items()]
    others += [
        (value.path, name, held)
        for value in draft.values
        if value is not method
        for name, held in value.settings.items()
    ]
    for path, name, held in others:
        if fixed.get(name, held) != held:
            raise document.fault(path, f"{name} is {held!r} here, and the method {label} fixes it to {fixed[name]!r}")


def _check_paths(document: Document, base: Settings, axes: Sequence[_Axis]) -> None:
    """A path in the base is that of every data set, so there may be but one."""
    for axis in axes:
        if axis.name == "dataset" and len(axis.values) > 1 and base.get("source.path") is not None:
            raise document.fault(
                axis.path, "base.source.path would be the log of several data sets: name a source for each of them"
            )
    if base.get("source.path") is not None:
        for axis in axes:
            for value in axis.values:
                if axis.name == "dataset" and value.settings.get("source.path") == value.label:
                    del value.settings["source.path"]


def _check_effect(document: Document, base: Settings, axes: Sequence[_Axis], cells: Sequence[StudyCell]) -> None:
    """Refuse an axis that no cell reads, and a setting of the base that reaches none."""
    for axis in axes:
        if not any(axis.name in cell.axes for cell in cells):
            raise document.fault(axis.path, f"nothing reads the axis {axis.name}")
    specs, of_its_method = [cell.spec for cell in cells], named_settings(base)
    for name in base:
        is_said = name.startswith("model.") and name not in of_its_method
        if is_said and not any(reads(spec, name) for spec in specs):
            raise document.fault(base_path(document, name), f"no method of this study reads {name}")
    check_data_read(document, base, specs)


def check_data_read(document: Document, base: Settings, specs: Sequence[CellSpec]) -> None:
    """Refuse a setting of the base about a filter or about noise that no cell reads. What is set over a file may have
    taken its noise out, or its filter: then its own words about them stay.
    """
    advice = {"filter": "name a noise model that does, filter.by", "noise": "give a share above 0, noise.ratio"}
    for name in base:
        part, path = name.split(".")[0], base_path(document, name)
        is_asked = document.is_override(path) or document.is_as_written
        if part in advice and is_asked and not any(reads(spec, name) for spec in specs):
            raise document.fault(path, f"no cell reads {name}: {advice[part]}")


def _check_overrides(document: Document, base: Settings, drafts: Sequence[_Draft]) -> None:
    """Refuse a setting that is set over the file's base and that every cell has otherwise, from an axis."""
    every = [draft.settings(base) for draft in drafts]
    for name, held in base.items():
        path = base_path(document, name)
        if document.is_override(path) and all(settings.get(name) != held for settings in every):
            told = without_secrets_in(held)
            raise document.fault(path, f"{name} is {told!r} here, and every cell has another from an axis")


def _check_reference(document: Document, reference: str | Axes, cells: Sequence[StudyCell]) -> None:
    wanted = without_secrets_in({"method": reference} if isinstance(reference, str) else reference)
    every = [{"method": cell.spec.method, **cell.axes} for cell in cells]
    if wanted and any(all(axis in held and held[axis] == value for axis, value in wanted.items()) for held in every):
        return
    told = f"no cell of this study is the reference {without_secrets_in(reference)!r}"
    raise document.fault(("reference",), ": ".join([told, *_unmet(wanted, every)][:2]))


def _unmet(wanted: Axes, cells: Sequence[Axes]) -> Iterator[str]:
    """What no cell has of the axes and values that are wanted, and what there is."""
    for axis, value in wanted.items():
        values = list(dict.fromkeys(held[axis] for held in cells if axis in held))
        if not values:
            yield unknown("axis", axis, dict.fromkeys(name for held in cells for name in held))
        elif value not in values:
            yield f"{axis} is one of {', '.join(map(str, values))}"


def execution_spec(document: Document) -> ExecutionSpec:
    """How the trainings of a file run. Raises `InputError` on an unknown setting and a value that cannot be."""
    execution = document.values["execution"]
    for key in execution:
        if key not in EXECUTION:
            raise document.fault(("execution", key), unknown("setting of the execution", key, EXECUTION))
    try:
        return ExecutionSpec.model_validate(execution)
    except ValidationError as error:
        first = error.errors()[0]
        raise document.fault(
            ("execution", *first["loc"]), f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        ) from None


def _spec(document: Document, *, reference: Any) -> StudySpec:
    checked = execution_spec(document)
    try:
        return StudySpec.model_validate({**document.values, "reference": reference, "execution": checked})
    except ValidationError as error:
        first = error.errors()[0]
        field = first["loc"][0] if first["loc"] else "study"
        raise document.fault((field,), f"{field}: {first['msg']}") from None


def _label(spec: CellSpec, axes: Axes, *, name_dataset: bool) -> str:
    extra = [
        f"{CALLED.get(axis, axis.rsplit('.', 1)[-1].replace('_', ' '))} {value}"
        for axis, value in axes.items()
        if axis not in TOLD_ELSEWHERE
    ]
    dataset = [spec.dataset] if name_dataset else []
    return ", ".join([*dataset, spec.method, *extra, f"noise {spec.noise.described}", f"seed {spec.seed}"])
