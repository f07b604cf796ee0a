"""The settings of a cell by their dotted names: "noise.ratio", "model.length", "prepare.split.kind"."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from models.config import ModelConfig
from tasks.choices import check_model
from tasks.digests import canonical_json
from tasks.own import is_own, method_name
from tasks.sources.datasets import GENERATED, known
from tasks.specs import METHODS, YIELDING, CellSpec, ExecutionSpec, as_named, effective_filter, fixed_by
from tasks.study.document import Document, Where, unknown

Settings = dict[str, Any]
"""Values by dotted name."""

MODEL = tuple(field.name for field in fields(ModelConfig))
OF_A_METHOD = ("training", "noise", "filter")
"""What else a method may say: how it is trained, what an oracle is spared, and what is left out of its log."""
EXECUTION = tuple(ExecutionSpec.model_fields)


def names() -> tuple[str, ...]:
    """Every setting that a cell has."""
    return tuple(dict.fromkeys(_leaves(CellSpec, "")))


def flattened(document: Document, values: Any, path: Where, *, prefix: str = "") -> Settings:
    """Nested values, or values by dotted names, as settings. `path` is where they stand.

    Raises `InputError` on a name that no cell has.
    """
    every = names()
    if not isinstance(values, Mapping):
        raise document.fault(path, f"{prefix.rstrip('.') or path[-1]} has to be a mapping of settings")
    flat: Settings = {}
    # What a method or a data set stands for comes first, so that what is said beside it holds.
    for key, value in sorted(values.items(), key=lambda item: item[0] not in ("dataset", "method")):
        name = f"{prefix}{key}"
        here = (*path, key)
        if name == "method":
            flat |= method_settings(document, value, here)
        elif name == "dataset":
            flat |= dataset_settings(document, value, here)
        elif name in every:
            if isinstance(value, Mapping | list):
                raise document.fault(here, f"{name} takes one value")
            flat[name] = value
        elif any(each.startswith(f"{name}.") for each in every):
            flat |= flattened(document, value, here, prefix=f"{name}.")
        else:
            raise document.fault(here, unknown("setting", name, every))
    return flat


def method_settings(document: Document, value: Any, path: Where) -> Settings:
    """What a method sets: one of `METHODS` by name, a recommender of a person's own as "FILE.py:NAME", or a mapping
    with a `name`, settings of the model and those of its own under `training`, `noise` and `filter`. A mapping of a
    name in `METHODS` is that method with more said of it.

    Raises `InputError` on an unknown name or setting, and where a mapping contradicts the method that it names.
    """
    if isinstance(value, str):
        if is_own(value):
            return {"method": method_name(value), "model.own": value}
        if value not in METHODS:
            raise document.fault(path, unknown("method", value, METHODS))
        return _named(value)
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        every = ", ".join(METHODS)
        raise document.fault(
            path, f"a method is one of {every}, or your own as FILE.py:NAME, or a mapping with its name"
        )
    name = value["name"]
    own: Settings = {}
    for key, held in value.items():
        if key in MODEL:
            own[f"model.{key}"] = held
        elif key.split(".")[0] in OF_A_METHOD:
            own |= flattened(document, {key: held}, path)
        elif key != "name":
            raise document.fault((*path, key), unknown("setting of a model", key, MODEL))
    if name not in METHODS:
        return {"method": name} | own
    try:
        as_named(name, {key: held for key, held in value.items() if key in MODEL})
    except ValueError as error:
        raise document.fault(path, str(error)) from None
    return _named(name) | own


def _named(name: str) -> Settings:
    """What one of `METHODS` sets."""
    return {"method": name} | {f"model.{key}": held for key, held in fixed_by(name).items()}


def named_settings(settings: Settings) -> Settings:
    """What the method that `settings` name fixes, where it is one of `METHODS`."""
    name = settings.get("method")
    if name not in METHODS:
        return {}
    return {f"model.{key}": held for key, held in fixed_by(str(name)).items() if key not in YIELDING}


def dataset_settings(document: Document, value: Any, path: Where) -> Settings:
    """What a data set sets: a name, which stands for the public data set of that name where it is known, or a mapping
    with a `name` and the settings that go with it (source, prepare, training and whatever else).
    """
    if isinstance(value, str):
        public = known(value)
        return {"dataset": value} | ({"source.path": value} if public and value != GENERATED else {})
    if isinstance(value, int | float):
        raise document.fault(path, _unquoted(value))
    return bundle(document, value, path, named="dataset")


def bundle(document: Document, value: Any, path: Where, *, named: str | None = None) -> Settings:
    """The settings of a mapping with a `name`, which the setting `named` takes where there is one."""
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise document.fault(path, "write a mapping with a `name` and the settings that it stands for")
    rest = {key: held for key, held in value.items() if key != "name"}
    return ({named: value["name"]} if named else {}) | flattened(document, rest, path)


def laid_over(base: Settings, said: Settings) -> Settings:
    """The base's settings with what is said over them. Where that is a log, what the base says of the generated one is
    said of none any more.
    """
    if said.get("source.path") not in (None, GENERATED):
        base = {name: held for name, held in base.items() if not name.startswith("source.shoppers.")}
    return base | said


def nested(settings: Settings) -> dict[str, Any]:
    """Settings as the mapping that `CellSpec` takes."""
    tree: dict[str, Any] = {}
    for name, value in settings.items():
        *above, last = name.split(".")
        branch = tree
        for part in above:
            branch = branch.setdefault(part, {})
        branch[last] = value
    return tree


def cell_spec(settings: Settings) -> CellSpec:
    """The checked cell. Raises pydantic's `ValidationError`, which `first_fault` tells of, and
    `models.config.WrongChoice`.
    """
    tree = nested(settings)
    tree.setdefault("model", {})
    spec = CellSpec.model_validate(tree)
    check_model(spec.model)
    return spec


def first_fault(error: ValidationError) -> tuple[str, str]:
    """The first setting that cannot be, and why."""
    first = error.errors()[0]
    if first["type"] == "string_type" and isinstance(first["input"], int | float):
        first["msg"] = _unquoted(first["input"])
    name = ""
    for part in map(str, first["loc"]):  # among which are the tags of unions, which name no setting
        longer = f"{name}.{part}" if name else part
        if any(each == longer or each.startswith(f"{longer}.") for each in names()):
            name = longer
    return name, first["msg"].removeprefix("Value error, ")


def _unquoted(value: float) -> str:
    """That YAML took for a number, or for yes or no, what has to be a name, as a column's or a data set's."""
    return f"it is read as {str(value).lower()}, which is no text: put it in quotes"


def experiment(spec: CellSpec) -> str:
    """What makes a cell an experiment of its own: two cells with the same text differ in names at most."""
    return canonical_json(
        {
            # The path as it is: written out, an address loses its query, which may choose the file.
            "source": spec.source.model_dump(mode="json") | {"path": spec.source.path},
            "prepare": spec.prepare.model_dump(mode="json"),
            "noise": spec.noise.model_dump(mode="json") if spec.noise.ratio else {},
            "filter": effective_filter(spec.filter),
            "model": spec.model.effective(),
            "training": spec.training.to_dict(),
            "seeds": [spec.seed, spec.evaluation_seed],
        }
    )


def _leaves(kind: Any, prefix: str) -> Iterator[str]:
    """The settings under a model, or under those that a union chooses from."""
    for name, annotation in _fields(kind):
        inner = [each for each in _alternatives(annotation) if _fields(each)]
        if inner:
            for each in inner:
                yield from _leaves(each, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _fields(kind: Any) -> list[tuple[str, Any]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [(name, field.annotation) for name, field in kind.model_fields.items()]
    if isinstance(kind, type) and is_dataclass(kind):
        return [(field.name, field.type) for field in fields(kind)]
    return []


def _alternatives(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    arguments = get_args(annotation)
    return [each for argument in arguments for each in _alternatives(argument)] if arguments else [annotation]
