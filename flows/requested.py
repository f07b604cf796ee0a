"""The specs that the command line's options ask for."""

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from flows.options import add_source

if TYPE_CHECKING:
    from tasks.audit.specs import AuditSpec
    from tasks.data_specs import Spec
    from tasks.specs import IngestSpec, MethodSpec, OfferableSpec, RecommendSpec, RobustnessSpec, StudyRequest
    from tasks.tuning.specs import TuneRequest

    SomeSpec = TypeVar("SomeSpec", bound=Spec)

RENAMED = {"time_limit_minutes": "time_limit", "ratios": "noise", "path": "source"}
"""By a spec's field the option that sets it, where that has another name."""
OF_ITEMS = ("only", "only_file", "exclude", "exclude_file")
"""The options that say which items may be offered."""


def tune_request(options: argparse.Namespace) -> "TuneRequest":
    """The request of `tune`'s options."""
    from tasks.tuning.specs import TuneRequest

    return TuneRequest(file=options.file, overrides=_overrides(options))


def study_request(options: argparse.Namespace) -> "StudyRequest":
    """The request of `study`'s options."""
    from tasks.specs import StudyRequest

    return StudyRequest(file=options.file, overrides=_overrides(options))


def robustness_spec(options: argparse.Namespace) -> "RobustnessSpec":
    """The spec of `run`'s options. Raises `InputError` where they do not make sense together."""
    from models.config import ModelConfig, TrainingConfig
    from tasks.data_specs import SourceSpec
    from tasks.errors import InputError
    from tasks.specs import DEFAULT_METHODS, RobustnessSpec, default_training, named_method

    model = _given(options, *_settings_of(ModelConfig, options))
    left_out = _given(options, by="filter", below="filter_below", folds="filter_folds")
    if len(left_out) > ("by" in left_out) and left_out.get("by", "none") == "none":
        raise InputError("--filter-below and --filter-folds say how a filter works: name one with --filter")
    noise = _given(options, kind="noise_kind", where="noise_where", seed="noise_seed")
    if noise and options.noise is not None and not any(options.noise):
        raise InputError(f"{_option(f'noise_{min(noise)}')}: this run has no noise: name a share above 0 with --noise")
    try:
        methods = [named_method(name, **model) for name in options.methods or DEFAULT_METHODS]
    except ValueError as error:
        raise InputError(_of_option((), str(error), options)) from None
    _check_effect(model, methods)
    log = _log_part(options)
    settings = _given(options, *_settings_of(TrainingConfig, options))
    source = _validated(SourceSpec, log["source"], options)
    values = log | {
        "noise": noise | _given(options, ratios="noise"),
        "filter": left_out,
        "methods": [method.model_dump() for method in methods],
        "training": default_training(source).to_dict() | settings,
        "execution": _given(
            options,
            "device",
            "threads",
            "side_by_side",
            "precision",
            compiled="compile",
            time_limit_minutes="time_limit",
        ),
    }
    return _validated(RobustnessSpec, values | _given(options, "seeds", "evaluation_seed"), options)


def _settings_of(config: type, options: argparse.Namespace) -> list[str]:
    """Those of a configuration's settings that there is an option for."""
    return [field.name for field in fields(config) if hasattr(options, field.name)]


def recommend_spec(options: argparse.Namespace) -> "RecommendSpec":
    """The spec of `recommend`'s options. Raises `InputError` where they do not make sense together."""
    from tasks.errors import InputError
    from tasks.specs import RecommendSpec

    if options.history is not None and (unread := _given(options, *_of_reading())):
        told = ", ".join(map(_option, unread))
        raise InputError(f"{told}: --history is scored as it is, and no log is read for it: leave one or the other out")
    values = _log_part(options) | _given(options, "alias", "k", "history", *OF_ITEMS)
    return _validated(RecommendSpec, values | {"exclude_seen": not options.include_seen}, options)


def offerable_spec(options: argparse.Namespace) -> "OfferableSpec":
    """Which items may be offered, as `explain`'s options say."""
    from tasks.specs import OfferableSpec

    return _validated(OfferableSpec, _given(options, *OF_ITEMS), options)


def ingest_spec(options: argparse.Namespace) -> "IngestSpec":
    """The spec of `ingest`'s options."""
    from tasks.specs import IngestSpec

    return _validated(IngestSpec, _log_part(options), options)


def audit_spec(options: argparse.Namespace) -> "AuditSpec":
    """The spec of `audit`'s options. Raises `InputError` where they do not make sense together."""
    from tasks.audit.specs import AuditSpec
    from tasks.errors import InputError

    if options.gain_epochs is not None and options.clean_below is None:
        raise InputError("--gain-epochs: say with --clean-below what is left out of the log whose gain is measured")
    return _validated(AuditSpec, _log_part(options) | _given(options, "top", "clean_below", "gain_epochs"), options)


def refuse_without_file(options: argparse.Namespace, command: str) -> None:
    """Raise `InputError` where options say what to do with a file, and none is named: a list would come of it."""
    from tasks.errors import InputError

    given = [name for name in ("dry_run", "set", "side_by_side", "json") if getattr(options, name)]
    if options.file is None and given:
        raise InputError(f"{_option(given[0])}: name a file, `rec-denoiser {command}` lists those that are shipped")


def _overrides(options: argparse.Namespace) -> tuple[str, ...]:
    """What the options of a study or a search set over its file."""
    at_a_time = [] if options.side_by_side is None else [f"execution.side_by_side={options.side_by_side}"]
    return (*options.set, *at_a_time)


def _check_effect(model: dict[str, Any], methods: "list[MethodSpec]") -> None:
    """Raises `InputError` where a setting that was given reaches no method: none reads it, or each fixes it itself."""
    from tasks.errors import InputError

    names = ", ".join(method.name for method in methods)
    for setting, value in model.items():
        held = {method.name: method.model.effective().get(setting) for method in methods}
        fixed = {name: own for name, own in held.items() if own is not None}
        if not fixed:
            raise InputError(f"{_option(setting)}: no method of this run reads it ({names})")
        if value not in fixed.values():
            told = ", ".join(f"{name} fixes it to {own}" for name, own in fixed.items())
            raise InputError(f"{_option(setting)}: {told}")


def _log_part(options: argparse.Namespace) -> dict[str, Any]:
    """source, prepare and dataset, as every command that reads a log takes them."""
    from tasks.sources.datasets import GENERATED, named_after

    columns = _given(options, **{role: f"{role}_col" for role in ("user", "item", "time", "order", "rating", "noise")})
    source = _given(options, "format", path="source")
    if source.get("path") == GENERATED and not Path(GENERATED).exists():
        del source["path"]
    if columns or "path" not in source:
        source["columns"] = columns
    named = options.dataset or (named_after(options.source) if options.source else None)
    return {"source": source, "prepare": _prepare_part(options)} | ({"dataset": named} if named else {})


def _of_reading() -> list[str]:
    """The options that say how a log is read and prepared, and not which one it is."""
    parser = argparse.ArgumentParser(add_help=False)
    add_source(parser)
    return [name for name in vars(parser.parse_args([])) if name not in ("source", "dataset", "memory")]


def _prepare_part(options: argparse.Namespace) -> dict[str, Any]:
    both = _given(options, user_core="k_core", item_core="k_core")
    settings = _given(options, "min_rating", "duplicates", "user_core", "item_core", "promotion", seed="split_seed")
    split = _given(options, "min_events", "validation", "test", "targets", kind="split")
    return both | settings | ({"split": {"kind": "leave-one-out"} | split} if split else {})


def _validated(kind: "type[SomeSpec]", values: dict[str, Any], options: argparse.Namespace) -> "SomeSpec":
    """The spec of that kind, or an `InputError` that names the option of the first field that is wrong."""
    from pydantic import ValidationError

    from tasks.errors import InputError

    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        fields = [part for part in first["loc"] if isinstance(part, str)]
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden" and "split" in fields:
            message = f"the split {fields[-2]} takes no such option"
        raise InputError(_of_option(fields, message, options)) from None


def _of_option(fields: Sequence[str], message: str, options: argparse.Namespace) -> str:
    """A message about a field of a spec under the name of its option, where there is one. What a configuration says of
    a setting of its own begins with its name.
    """
    setting, _, rest = message.partition(" ")
    if hasattr(options, setting):
        return f"{_option(setting)} {rest}"
    of_fields = [field for field in fields[-1:] if hasattr(options, RENAMED.get(field, field))]
    return f"{_option(of_fields[0])}: {message}" if of_fields else message


def _option(field: str) -> str:
    """The option that sets a field of a spec."""
    return "--" + RENAMED.get(field, field).replace("_", "-")


def _given(options: argparse.Namespace, *names: str, **renamed: str) -> dict[str, Any]:
    """Those of the options that were given, by their names in the spec."""
    wanted = {name: name for name in names} | renamed
    return {key: getattr(options, name) for key, name in wanted.items() if getattr(options, name) is not None}
