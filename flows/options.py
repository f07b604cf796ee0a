"""The command line's options, and the specs that they ask for."""

import argparse
import csv
import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from models.config import SELECTED_BY
from tasks.sources.formats import known_formats

if TYPE_CHECKING:
    from tasks.audit.specs import AuditSpec
    from tasks.data_specs import Spec
    from tasks.specs import IngestSpec, MethodSpec, RecommendSpec, RobustnessSpec, StudyRequest
    from tasks.tuning.specs import TuneRequest

    SomeSpec = TypeVar("SomeSpec", bound=Spec)

RENAMED = {"time_limit_minutes": "time_limit", "ratios": "noise", "path": "source"}
"""By a spec's field the option that sets it, where that has another name."""
ESTIMATORS = ("arm", "arm-per-token", "ar", "reinforce", "straight-through", "hard-concrete")


def add_run(parser: argparse.ArgumentParser) -> None:
    """The options of `run`."""
    add_source(parser)
    noise = parser.add_argument_group("noise put in on purpose")
    noise.add_argument(
        "--noise", type=_list_of(_within(0, 0.5)), metavar="R,R", help="shares of noise, up to 0.5 (default 0,0.2)"
    )
    noise.add_argument(
        "--noise-kind",
        choices=("replace", "popular", "insert", "delete", "swap", "burst", "sharing", "bots"),
        help="what the noise is (default replace)",
    )
    noise.add_argument(
        "--noise-where",
        choices=("training", "histories", "both"),
        help="in what is trained on, in the histories that are ranked with, or both (default both)",
    )
    noise.add_argument("--noise-seed", type=_whole(0), metavar="N", help="seed of the noise (default 0)")
    left_out = parser.add_argument_group("what every method is spared, of noise put in and of the log's own")
    left_out.add_argument(
        "--filter",
        choices=("none", "co-occurrence", "own-score", "popularity"),
        help="the noise model that says which interactions are left out (default none)",
    )
    left_out.add_argument(
        "--filter-below",
        type=_within(0.001, 1),
        metavar="P",
        help="those whose probability of being genuine is less than P (default 0.5)",
    )
    left_out.add_argument(
        "--filter-folds",
        type=_whole(1, most=20),
        metavar="N",
        help="parts of users, each judged by what was learned of the others; 1: by the whole log (default 1)",
    )
    models = parser.add_argument_group("models")
    models.add_argument(
        "--methods",
        type=_list_of(str),
        metavar="M,M",
        help="of sasrec-bce, sasrec-softmax, rec-denoiser, denoised-softmax, rec-denoiser-published, contextual-gate, "
        "fixed-random-mask, head-drop, layer-drop, top-k, sparse-transformer, adaptively-sparse, sasrec-bpr, "
        "sasrec-gbce, sasrec-sampled-softmax, denoised-bce, denoised-bce-dropout, popularity-filter, own-score-filter, "
        "truncated-bce, truncated-softmax, co-teaching, corrupted-inputs, event-dropout, bert4rec, tisasrec, sse-pt "
        "(default the first four)",
    )
    for option, kind, metavar, text in (
        ("length", _whole(1), "N", "how many past events a model sees (default 50)"),
        ("dim", _whole(1), "N", "width, a multiple of the heads (default 50)"),
        ("blocks", _whole(1), "N", "attention blocks (default 2)"),
        ("heads", _whole(1), "N", "attention heads of a block (default 2)"),
        ("dropout", _probability, "P", "dropout probability (default 0.2)"),
        ("negatives", _whole(1), "N", "sampled negatives, where the loss samples (default 1; gbce, sampled 256)"),
        ("gbce-t", _within(0, 1), "T", "gbce: its calibration (default 0.75)"),
        ("masked", _within(0, 1), "R", "bert4rec: share of items masked in training (default 0.2)"),
        ("last-masked", _within(0, 1), "R", "bert4rec: windows more with the last item masked (default 0.1)"),
        ("max-interval", _whole(1), "N", "tisasrec: longest interval, in smallest gaps (default 256)"),
        ("user-dim", _whole(1), "N", "sse-pt: width of user embeddings (default 50)"),
        ("keep-users", _within(0, 1), "P", "sse-pt: probability that a user is kept in training (default 0.08)"),
        ("keep-items", _within(0, 1), "P", "sse-pt: probability that an item is kept in training (default 0.9)"),
        ("gate-logit", _number, "X", "rec-denoiser: the gate's initial logit (default 2)"),
        ("gate-rate", _number, "X", "rec-denoiser: the gate's learning rate over the network's (default 10)"),
        ("gate-rank", _whole(1), "N", "contextual-gate: rank of its query-key term (default 8)"),
        ("gate-planted", _number, "R", "contextual-gate: share of items planted to learn from (default 0.15)"),
        ("beta", _number, "X", "rec-denoiser: weight of the gate's penalty (default 0.06)"),
        ("gamma", _number, "X", "rec-denoiser: weight of the blocks' squared Jacobians (default 0)"),
        ("jacobian-every", _whole(1), "N", "rec-denoiser: steps between those with that term (default 1)"),
        ("gate-keep", _number, "P", "fixed-random-mask, head-drop, layer-drop: share that is kept (default 0.85)"),
        ("attention-top", _whole(1), "N", "top-k: cells of a row (default 10)"),
        ("sparse-stride", _whole(1), "N", "sparse-transformer: positions of a block (default 8)"),
        ("sparse-width", _whole(1), "N", "sparse-transformer: its last ones, which all see (default 2)"),
        ("attention-alpha", _number, "X", "adaptively-sparse: the first α of each head (default 1.5)"),
        ("reach", _whole(1), "N", "denoised: events to each side that one is compared with (default 8)"),
        ("drop-below", _number, "P", "denoised: events less likely genuine are left out, 0 for none (default 0.5)"),
        ("spare", _whole(0), "N", "denoised: events more that are read of a history for that (default 25)"),
        ("target-power", _number, "X", "denoised: a target's weight is its probability to this power (default 1)"),
        ("attention-power", _number, "X", "denoised: so is what attention pays to an event (default 0)"),
        ("truncate", _number, "R", "truncated, co-teaching: share of the largest losses left out (default 0.2)"),
        ("truncate-ramp", _whole(1), "N", "truncated, co-teaching: steps in which it rises to that (default 500)"),
    ):
        models.add_argument(f"--{option}", type=kind, metavar=metavar, help=text)
    for option, choices, text in (
        ("estimator", ESTIMATORS, "rec-denoiser: how gradients reach the gate (default arm-per-token)"),
        ("beta-on", ("sum", "mean"), "rec-denoiser: β weighs the keep-probabilities' sum, or mean (default mean)"),
        ("passes", ("apart", "stacked"), "rec-denoiser: how ARM's two passes run (default apart)"),
    ):
        models.add_argument(f"--{option}", choices=choices, help=text)
    models.add_argument(
        "--planted",
        choices=("all", "uniform", "popular"),
        help="denoised: the kinds of noise that are planted to learn from (default all)",
    )
    models.add_argument(
        "--cleaning",
        choices=("threshold", "sampled"),
        help="denoised: what is trained on: all but what is below drop-below, or, drawn anew in each epoch, each event "
        "with its probability (default threshold; denoised-softmax sampled)",
    )
    models.add_argument(
        "--norm", choices=("authors", "pre", "post"), help="where the layer norms stand (default authors)"
    )
    training = parser.add_argument_group("training (defaults for generated shoppers in brackets)")
    training.add_argument("--seeds", type=_list_of(_whole(0)), metavar="N,N", help="one training each (default 1)")
    for option, kind, metavar, text in (
        ("epochs", _whole(1), "N", "passes over the data, at most (default 100 [25])"),
        ("patience", _whole(1), "N", "validations without a gain before it stops (default 10 [5])"),
        ("min-steps", _whole(0), "N", "steps that it takes in any case (default 250 [250])"),
        ("validate-every", _whole(1), "N", "epochs between validations (default 1 [1])"),
        ("batch-size", _whole(1), "N", "users in a step (default 128 [64])"),
        ("learning-rate", _number, "X", "of Adam (default 0.001 [0.002])"),
        ("weight-decay", _number, "X", "decoupled, as AdamW's (default 0 [0])"),
        ("clip", _number, "X", "longest gradient, 0 for any (default 0 [0])"),
        ("warmup", _whole(0), "N", "steps in which the learning rate rises (default 0 [0])"),
        ("decay", _within(0, 1), "R", "share of the learning rate lost by the last epoch (default 0 [0])"),
    ):
        training.add_argument(f"--{option}", type=kind, metavar=metavar, help=text)
    training.add_argument(
        "--select-by",
        choices=SELECTED_BY,
        metavar="METRIC",
        help="of validation, what chooses the weights and stops a training: ndcg_at_10 or hit_at_10 behind "
        "full_unseen. or sampled100. (default full_unseen.ndcg_at_10)",
    )
    training.add_argument(
        "--table-rows",
        choices=("auto", "all", "touched"),
        help="rows of the item table that a step updates; auto: touched ones from 100,000 items on (default auto)",
    )
    execution = parser.add_argument_group("execution")
    execution.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), help="auto takes a GPU where there is one (default auto)"
    )
    execution.add_argument("--threads", type=_whole(1), metavar="N", help="threads of each training (default 1)")
    execution.add_argument(
        "--side-by-side", type=_whole(1), metavar="N", help="trainings at a time (default: as many as cores allow)"
    )
    execution.add_argument(
        "--compile",
        action="store_true",
        default=None,
        help="compile the steps of models that allow it, with torch.compile, which on a CPU needs a C++ compiler and "
        "is no faster (docs/speed.md)",
    )
    execution.add_argument(
        "--precision",
        choices=("float32", "tf32", "bf16"),
        help="of products of matrices in training; tf32 on a GPU alone (default float32)",
    )
    execution.add_argument("--time-limit", type=_number, metavar="MIN", help="minutes for each training (default 240)")
    execution.add_argument(
        "--evaluation-seed", type=_whole(0), metavar="N", help="seed of the candidates ranked (default 0)"
    )
    output = parser.add_argument_group("output")
    output.add_argument("--json", metavar="FILE", help="write figures, digests and the record of the run to FILE")


def add_source(parser: argparse.ArgumentParser) -> None:
    """The options of every command that reads a log."""
    source = parser.add_argument_group("data (without --source: the generated shoppers)")
    source.add_argument(
        "--source",
        type=_named,
        metavar="PATH",
        help="a CSV, TSV, JSON-lines (also .gz) or Parquet file, a quoted pattern of several, an address "
        "(http, https, s3), a data set that `rec-denoiser datasets` lists, or snapshot://NAME, one of `rec-denoiser "
        "snapshots` as it is",
    )
    source.add_argument(
        "--format",
        choices=known_formats(),
        metavar="FORMAT",
        help=f"how the file is laid out, of {', '.join(known_formats())} (default: recognised; else interactions: "
        "columns with the names below)",
    )
    source.add_argument("--user-col", metavar="NAME", help="column of user ids (default user_id)")
    source.add_argument("--item-col", metavar="NAME", help="column of item ids (default item_id)")
    source.add_argument("--time-col", metavar="NAME", help="column of times (default: the file's order counts)")
    source.add_argument("--order-col", metavar="NAME", help="column of numbers that order events, after time")
    source.add_argument("--rating-col", metavar="NAME", help="column of ratings, for --min-rating")
    source.add_argument(
        "--noise-col",
        metavar="NAME",
        help="column that names known noise, or marks it by 1, true or yes; empty, 0, false, no or genuine where there "
        "is none",
    )
    source.add_argument(
        "--dataset", type=_name, metavar="NAME", help="name in runs and models (default: after the file)"
    )
    source.add_argument(
        "--memory",
        type=_memory,
        action=_Exported,
        metavar="SIZE",
        help="what DuckDB may take, such as 4GB; more goes to disk (default: $REC_DENOISER_MEMORY, or 80%% of all)",
    )
    prepare = parser.add_argument_group("preparation")
    prepare.add_argument("--min-rating", type=_number, metavar="X", help="drop events rated lower (default: none)")
    prepare.add_argument(
        "--duplicates",
        choices=("keep", "exact", "consecutive", "first", "last"),
        help="keep all of a user's events; drop those that repeat item and time, or the item just before; "
        "or keep only the first or the last with an item (default keep)",
    )
    prepare.add_argument(
        "--k-core", type=_whole(0), metavar="K", help="drop users and items with fewer events, until none is left"
    )
    prepare.add_argument("--user-core", type=_whole(0), metavar="K", help="the same for users alone (default 0)")
    prepare.add_argument("--item-core", type=_whole(0), metavar="K", help="the same for items alone (default 0)")
    prepare.add_argument(
        "--split",
        choices=("leave-one-out", "sessions", "temporal", "users"),
        help="how training, validation and test are parted (default leave-one-out)",
    )
    prepare.add_argument(
        "--min-events", type=_whole(3), metavar="N", help="leave-one-out: users with fewer are not ranked (default 3)"
    )
    prepare.add_argument(
        "--validation", type=_number, metavar="R", help="other splits: share held out for validation (default 0.1)"
    )
    prepare.add_argument(
        "--test", type=_number, metavar="R", help="other splits: share held out for test (default 0.1)"
    )
    prepare.add_argument(
        "--targets",
        choices=("first", "last", "every"),
        help="which held-out events temporal and users (which has no first) predict (default first; of users the last)",
    )
    prepare.add_argument(
        "--promotion",
        type=_within(0, 0.5),
        metavar="R",
        help="share of validation's users whose targets decide on promotion instead (default 0.2)",
    )
    prepare.add_argument("--split-seed", type=_whole(0), metavar="N", help="seed of the draws of users (default 0)")


def add_audit(parser: argparse.ArgumentParser) -> None:
    """The options of `audit`."""
    add_source(parser)
    found = parser.add_argument_group("audit")
    found.add_argument(
        "--top",
        type=_whole(1, most=10_000),
        metavar="N",
        help="most suspicious interactions, users and items told of (default 20)",
    )
    found.add_argument(
        "--clean-below",
        type=_within(0.001, 1),
        metavar="P",
        help="write a snapshot without interactions whose probability of being genuine is less than P, too",
    )
    found.add_argument(
        "--gain-epochs",
        type=_whole(1),
        metavar="N",
        help="with --clean-below: train SASRec on the log as it is and on the cleaned one, N epochs at most, and say "
        "what cleaning gains on validation",
    )
    found.add_argument("--json", metavar="FILE", help="write all that was found to FILE as well")


def add_recommend(parser: argparse.ArgumentParser) -> None:
    """The options of `recommend`."""
    wanted = parser.add_argument_group("what to recommend")
    wanted.add_argument(
        "--history",
        type=_ids,
        metavar="ID,ID",
        help="one user's item ids, oldest first; one that has a comma in double quotes (default: a log's users)",
    )
    wanted.add_argument("--k", type=_whole(1), metavar="N", help="items for each user (default 10)")
    wanted.add_argument("--include-seen", action="store_true", help="offer items of the history too")
    wanted.add_argument("--alias", metavar="ALIAS", help="which version of the model (default champion)")
    add_source(parser)


def add_explain(parser: argparse.ArgumentParser) -> None:
    """The options of `explain`."""
    model = parser.add_argument_group("which model (default: the champion of the generated shoppers)")
    which = model.add_mutually_exclusive_group()
    which.add_argument("--model", metavar="NAME", help="a registered one: NAME, NAME@ALIAS or NAME/VERSION")
    which.add_argument("--run", metavar="RUN_ID", help="the MLflow run of a training, or the beginning of its id")
    which.add_argument("--dataset", type=_name, metavar="NAME", help="the champion of this data set")
    answer = parser.add_argument_group("which answer")
    history = answer.add_mutually_exclusive_group(required=True)
    history.add_argument("--user", metavar="ID", help="that to a user of the log that the model was trained on")
    history.add_argument("--history", type=_ids, metavar="ID,ID", help="that to these items, oldest first")
    answer.add_argument("--k", type=_whole(1), default=10, metavar="N", help="offered items (default 10)")
    told = parser.add_argument_group("where it is told, beside the terminal")
    told.add_argument("--out", metavar="PAGE.html", help="a page with the attention as pictures, and two CSV files")
    told.add_argument("--json", metavar="FILE", help="all numbers")


def add_datasets(parser: argparse.ArgumentParser) -> None:
    """The options of `datasets`."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="all about this one (default: a table of all)")
    parser.add_argument("--fetch", action="store_true", help="fetch it from its owner, or see whether it has changed")


def add_ui(parser: argparse.ArgumentParser) -> None:
    """The options of `ui`."""
    parser.add_argument("which", choices=("mlflow", "prefect"), help="whose user interface")
    parser.add_argument(
        "--port", type=_whole(1, most=65_535), metavar="N", help="default 5000 for mlflow, 4200 for prefect"
    )


def add_snapshots(parser: argparse.ArgumentParser) -> None:
    """The actions of `snapshots`, and their options."""
    parser.add_argument(
        "--forget-user",
        metavar="ID,ID",
        help="short for `forget`, where one clean snapshot has these users",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", help=argparse.SUPPRESS, prog=parser.prog)

    def action(name: str, usage: str, about: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, usage=f"%(prog)s {usage}", description=about)

    action(
        "list",
        "",
        "All snapshots: those with noise put in or filtered out stand under the clean one that they\nwere made from.",
    )
    show = action("show", "NAME [--json]", "All that a snapshot's manifest says, and who refers to it.")
    show.add_argument("name", metavar="NAME", help="a snapshot's name, or its beginning")
    show.add_argument("--json", action="store_true", help="as JSON")
    verify = action(
        "verify",
        "[NAME…]",
        "Read every byte and every row, and compare them with the manifest and the name.\n"
        "Exit status 1 where something is wrong.",
    )
    verify.add_argument("names", nargs="*", metavar="NAME", help="snapshots (default: all)")
    diff = action("diff", "A B", "What two snapshots say differently, by raw ids.")
    diff.add_argument("a", metavar="A", help="a snapshot's name, or its beginning")
    diff.add_argument("b", metavar="B", help="the same of the other")
    remove = action(
        "remove",
        "{NAME… | --unused} [--yes] [--force]",
        "Remove snapshots and what steps derived from them. One that a run, a model, scored\n"
        "users or another snapshot refer to stays.",
    )
    which = remove.add_mutually_exclusive_group(required=True)
    which.add_argument("names", nargs="*", default=[], metavar="NAME", help="snapshots")
    which.add_argument("--unused", action="store_true", help="all that nothing refers to")
    remove.add_argument("--yes", action="store_true", help="do not ask")
    remove.add_argument("--force", action="store_true", help="also where something refers to them")
    forget = action(
        "forget",
        "NAME --user ID,ID",
        "Make a new snapshot without these users, and say what still knows them. The k-core\nis not applied again.",
    )
    forget.add_argument("name", metavar="NAME", help="a clean snapshot's name, or its beginning")
    forget.add_argument("--user", required=True, metavar="ID,ID", help="raw ids, exactly")


def add_rerun(parser: argparse.ArgumentParser) -> None:
    """The options of `rerun`."""
    _add_run_id(parser, "run", shown="RUN_ID")
    parser.add_argument(
        "--home",
        metavar="FOLDER",
        help="an empty or new folder that keeps the new weights and ranks (default: they are thrown away)",
    )


def add_register(parser: argparse.ArgumentParser) -> None:
    """The options of `register`."""
    _add_run_id(parser, "run", shown="RUN_ID")


def add_diff(parser: argparse.ArgumentParser) -> None:
    """The options of `diff`."""
    for run, other in (("a", "RUN_A"), ("b", "RUN_B")):
        _add_run_id(parser, run, shown=other)
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def add_study(parser: argparse.ArgumentParser) -> None:
    """The options of `study`."""
    _add_experiment(
        parser,
        what="study",
        parts="cells",
        settable="base.SETTING=VALUE, axes.SETTING=[VALUE, …], execution.SETTING=VALUE, name=NAME, reference=METHOD, "
        "include=[…], exclude=[…]",
        written="the result, less the points of its curves,",
    )


def add_tune(parser: argparse.ArgumentParser) -> None:
    """The options of `tune`."""
    _add_experiment(
        parser,
        what="search",
        parts="trials",
        settable="base.SETTING=VALUE, space.SETTING=[VALUE, …] or {low: …, high: …}, spaces.METHOD={…}, "
        "sampler.SETTING=VALUE, execution.SETTING=VALUE, name=NAME, methods=[…], trials=N, seeds=[…], metric=NAME",
        written="the search's result",
    )


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
    values = _log_part(options) | _given(options, "alias", "k", "history")
    return _validated(RecommendSpec, values | {"exclude_seen": not options.include_seen}, options)


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


def _add_experiment(parser: argparse.ArgumentParser, *, what: str, parts: str, settable: str, written: str) -> None:
    """The options of what a file describes and runs, a study or a search, which consists of `parts`."""
    parser.add_argument(
        "file",
        nargs="?",
        type=_named,
        metavar="FILE",
        help=f"a {what}'s file, or the name of a shipped one (default: list these)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help=f"print the {parts}, what is cached, and expected time and memory"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="A.B=C",
        help=f"set something over the file: {settable}; repeatable, values as in YAML",
    )
    parser.add_argument(
        "--side-by-side", type=_whole(1), metavar="N", help="trainings at a time (default: as many as cores allow)"
    )
    parser.add_argument("--json", metavar="FILE", help=f"write {written} to FILE as well")


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


def _add_run_id(parser: argparse.ArgumentParser, name: str, *, shown: str) -> None:
    parser.add_argument(name, metavar=shown, help="the MLflow run of a training, or the beginning of its id")


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


class _Exported(argparse.Action):
    """Hands an option's value to this process and its children as the variable REC_DENOISER_<OPTION>."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, values)
        os.environ[f"REC_DENOISER_{self.dest.upper()}"] = values


def _named(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("it names nothing: leave it out, or write a name")
    return text


def _memory(text: str) -> str:
    from tasks.engine import memory_size
    from tasks.errors import InputError

    try:
        return memory_size(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _within(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = _number(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} does not lie between {low:g} and {high:g}")
        return value

    return parse


def _probability(text: str) -> float:
    value = _number(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} does not lie in [0, 1)")
    return value


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,59}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not made of at most 60 small letters, digits, '.', '_' and '-'")
    return text


def _whole(least: int, *, most: int = 2**31 - 1) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} does not lie between {least} and {most}")
        return value

    return parse


def _ids(text: str) -> list[str]:
    """Raw ids as in CSV: one that has commas in it stands in double quotes."""
    lines = csv.reader(text.splitlines(keepends=True), skipinitialspace=True)
    return _without_gaps([part.strip() for line in lines for part in line], text)


def _list_of(parse: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    def parse_list(text: str) -> list[Any]:
        return [parse(part) for part in _without_gaps([part.strip() for part in text.split(",")], text)]

    return parse_list


def _without_gaps(parts: list[str], text: str) -> list[str]:
    if not parts or not all(parts):
        raise argparse.ArgumentTypeError(f"{text!r} has an empty place: part the values by single commas")
    return parts
