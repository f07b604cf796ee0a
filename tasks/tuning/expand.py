"""From a search's file to its methods, each with its space and with the cells that a trial stands for."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from models.config import WrongChoice
from models.engine.metrics import VALIDATED
from tasks.specs import METHODS, YIELDING, CellSpec
from tasks.study.document import Document, Form, Where, read_document, unknown
from tasks.study.expand import base_path, base_settings, blamed, check_data_read, execution_spec, reads
from tasks.study.files import located
from tasks.study.settings import Settings, cell_spec, first_fault, method_settings
from tasks.tuning.space import Dimension, Space, read_space
from tasks.tuning.specs import SamplerSpec, TuneRequest, TuneSpec

SEARCH = Form(
    what="search",
    command="tune",
    parts=(
        *("name", "question", "base", "methods", "space", "spaces", "trials", "seeds", "metric", "sampler"),
        "execution",
    ),
    mappings=("base", "space", "spaces", "sampler", "execution"),
    lists=("methods", "seeds"),
    mappings_of_lists=(),
    overrides="base.SETTING=VALUE, space.SETTING=[VALUE, VALUE], spaces.METHOD={SETTING: [VALUE, VALUE]}, "
    "sampler.SETTING=VALUE, execution.SETTING=VALUE or as one of name, question, methods, trials, seeds and metric "
    "with =VALUE",
)
ELSEWHERE = {"method": "methods", "seed": "seeds"}
"""Settings of a cell that a search names in a part of its own."""

YIELDING_SETTINGS = tuple(f"model.{name}" for name in YIELDING)
"""What a named method leaves to the base and to a search."""
OWN_SETTINGS = ("model.own", "model.own_noise")
"""What a method that names a person's own file leaves to a search, which may say more in the brackets."""


@dataclass(frozen=True)
class Method:
    """A method as it comes, with the base, and what is tried of it."""

    name: str
    settings: Settings
    space: Space

    def cell(self, chosen: Settings, *, seed: int) -> CellSpec:
        """The cell with settings over the method's own. Raises `ValidationError` where they do not go together."""
        return cell_spec({**self.settings, **chosen, "seed": seed})

    def own(self, names: Iterable[str]) -> Settings:
        """What the method as it comes has of some settings."""
        spec = cell_spec(self.settings)
        held = {"model": spec.model.to_dict(), "training": spec.training.to_dict()}
        return {name: held[name.split(".")[0]][name.split(".")[1]] for name in names}


@dataclass(frozen=True)
class Tuning:
    """A search with its methods; `notes` are what a person should know."""

    spec: TuneSpec
    methods: tuple[Method, ...]
    notes: tuple[str, ...]

    @property
    def source_cell(self) -> CellSpec:
        """A cell that names the log, its preparation and its noise, which are those of every other."""
        return self.methods[0].cell({}, seed=self.spec.seeds[0])


def tune_file(request: TuneRequest) -> Tuning:
    """The search that is asked for; raises as `read_tuning` does."""
    return read_tuning(located(request.file, form=SEARCH), request.overrides)


def read_tuning(path: Path, overrides: Iterable[str] = ()) -> Tuning:
    """The search of a file, with what `--set` sets over it.

    Raises `InputError`, with file and line, on an unknown name, a value that cannot be, a metric that is not of
    validation, a setting that is no search's to choose or that no method reads.
    """
    document = read_document(path, overrides, form=SEARCH)
    spec = _spec(document)
    for key in document.values["base"]:
        if key in ELSEWHERE:
            raise document.fault(("base", key), f"a search has {ELSEWHERE[key]} of its own, and no {key} in its base")
    base = base_settings(document)
    common = read_space(document, document.values["space"], ("space",))
    entries = [_entry(document, base, value, number) for number, value in enumerate(document.values["methods"])]
    notes = _check_names(document, [settings["method"] for settings, _ in entries])
    methods = tuple(_method(document, settings, fixed, common, notes) for settings, fixed in entries)
    _check_read(document, base, common, methods)
    return Tuning(spec.model_copy(update={"base": base}), methods, tuple(notes))


def _spec(document: Document) -> TuneSpec:
    values = dict(document.values)
    if not values["seeds"]:
        del values["seeds"]
    metric = values.get("metric", VALIDATED[0])
    if isinstance(metric, str) and metric.split(".")[0] in ("test", "promotion"):
        raise document.fault(
            ("metric",),
            f"{metric} is not of validation, and nothing else chooses settings: take {VALIDATED[0]}",
        )
    if metric not in VALIDATED:
        raise document.fault(("metric",), unknown("validation metric of trainings", str(metric), VALIDATED))
    for key in values["sampler"]:
        if key not in SamplerSpec.model_fields:
            raise document.fault(("sampler", key), unknown("setting of the sampler", key, SamplerSpec.model_fields))
    try:
        return TuneSpec.model_validate(values | {"execution": execution_spec(document)})
    except ValidationError as error:
        first = error.errors()[0]
        path = tuple(first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise document.fault(path, f"{'.'.join(map(str, path))}: {message}") from None


def _entry(document: Document, base: Settings, value: Any, number: int) -> tuple[Settings, Settings]:
    """The base with a method's own settings, and these alone."""
    fixed = method_settings(document, value, ("methods", number))
    for name, held in base.items():
        if name not in YIELDING_SETTINGS and fixed.get(name, held) != held:
            raise document.fault(
                base_path(document, name),
                f"{name} is {held!r} here, and the method {fixed['method']} fixes it to {fixed[name]!r}",
            )
    settings = {**base, **fixed, **{name: base[name] for name in YIELDING_SETTINGS if name in base}}

    origins = {setting: base_path(document, setting) for setting in settings}
    origins |= {setting: ("methods", number) for setting, path in origins.items() if path == ("base",)}
    _checked(document, settings, lambda setting, message: blamed(document, origins, setting, message))
    return settings, fixed


def _check_names(document: Document, named: list[str]) -> list[str]:
    """Refuse what is there twice and spaces of nothing; says whose are not searched, as where `--set` leaves a method
    of the file out.
    """
    for number, name in enumerate(named):
        if name in named[:number]:
            raise document.fault(("methods", number), f"the method {name} is there twice")
    others = [name for name in document.values["spaces"] if name not in named]
    left_out = document.is_override(("methods",))
    for name in others:
        of_the_file = not document.is_override(("spaces", name))
        if name not in METHODS and not (left_out and of_the_file):
            raise document.fault(("spaces", name), unknown("method of this search", name, named))
    return [f"{name} has a space and is no method of this search" for name in others]


def _method(document: Document, settings: Settings, fixed: Settings, common: Space, notes: list[str]) -> Method:
    """A method with what it reads of the common space and with its own; says in `notes` what it does not take."""
    name = settings["method"]
    path: Where = ("spaces", name)
    own = read_space(document, document.values["spaces"].get(name, {}), path)
    held = {setting for setting in fixed if setting not in YIELDING_SETTINGS}
    held -= {setting for setting in OWN_SETTINGS if fixed.get(setting)}
    for setting in own:
        if setting in held:
            raise document.fault((*path, setting), f"the method {name} fixes {setting} to {fixed[setting]!r}")
    free = {setting: dimension for setting, dimension in common.items() if setting not in held}
    for setting in common.keys() - free.keys():
        held_to = "none" if fixed[setting] == "" else fixed[setting]
        notes.append(f"{name} fixes {setting} to {held_to}: it is not searched there")
    wanted: dict[str, Dimension] = {**free, **own}
    read = _read(document, settings, wanted, name)
    for setting in wanted:
        if setting not in read and setting in own:
            raise document.fault((*path, setting), f"the method {name} does not read {setting}")
    notes += [f"{name} does not read {setting}: it is not searched there" for setting in free if setting not in read]
    space = {setting: dimension for setting, dimension in wanted.items() if setting in read}
    method = Method(name, settings, space)
    if not space:
        raise document.fault(("methods",), f"nothing is searched of the method {name}: write its space under spaces")
    for setting, value in method.own(space).items():
        if not space[setting].holds(value):
            notes.append(f"{name}: its usual {setting}, {value}, lies outside the space; it is tried all the same")
    return method


def _read(document: Document, settings: Settings, space: Space, name: str) -> set[str]:
    """The settings that the method reads under its own or under some other value of the space."""
    read: set[str] = set()
    for spec in [cell_spec(settings), *_probes(document, settings, space, name)]:
        read |= {f"model.{setting}" for setting in spec.model.effective()}
    return {setting for setting in space if setting in read or setting.startswith("training.")}


def _probes(document: Document, settings: Settings, space: Space, name: str) -> Iterable[CellSpec]:
    """The method with each setting at the ends of what is tried of it. Raises `InputError` where that cannot be."""
    for setting, dimension in space.items():
        own = (("spaces", name, setting), ("space", setting))
        written = next((path for path in own if path in document.places), own[1][:1])
        yield from (_at(document, {**settings, setting: value}, written) for value in dimension.ends)


def _checked(document: Document, settings: Settings, where: Callable[[str, str], Where]) -> CellSpec:
    """The cell of settings. `where` gives, for a setting and what is said of it, the place where that was written."""
    try:
        return cell_spec(settings)
    except ValidationError as error:
        setting, message = first_fault(error)
        raise document.fault(where(setting, message), f"{setting}: {message}" if setting else message) from None
    except WrongChoice as error:
        raise document.fault(where(f"model.{error.setting}", str(error)), str(error)) from None


def _at(document: Document, settings: Settings, path: Where) -> CellSpec:
    return _checked(document, settings, lambda _, __: path)


def _check_read(document: Document, base: Settings, common: Space, methods: Iterable[Method]) -> None:
    """Refuse what reaches no method."""
    searched = {setting for method in methods for setting in method.space}
    for setting in common:
        if setting not in searched:
            raise document.fault(("space", setting), f"no method of this search reads {setting}")
    specs = [cell_spec(method.settings) for method in methods]
    for name in base:
        if name.startswith("model.") and name not in searched and not any(reads(spec, name) for spec in specs):
            raise document.fault(base_path(document, name), f"no method of this search reads {name}")
    check_data_read(document, base, specs)
