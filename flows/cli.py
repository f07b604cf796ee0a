"""`rec-denoiser …`: every flow from the command line.

Only what a command needs is imported, when it is needed: help answers at once.
"""

import argparse
import difflib
import math
import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from tasks.specs import RecommendSpec, RobustnessSpec

PROGRAM = "rec-denoiser"
BAD_INPUT = 2
FAILED = 1
INTERRUPTED = 130

OVERVIEW = """\
Which next-item recommender survives noisy data, by how much, and is the gain real?

Reads an interaction log, checks it, corrupts it on purpose, trains recommenders
with and without denoising, ranks them, and registers the best. Every run is
tracked and repeatable.

commands:
  run          the main job: from a log to a table and a registered model
  ingest       make a checked snapshot of a log
  recommend    score users with a registered model
  deploy       put the flows of prefect.yaml on a Prefect server, with their schedules
  worker       run what that server has scheduled or was asked for
  ui           open MLflow's or Prefect's user interface

`rec-denoiser COMMAND --help` shows a command's options, with examples."""

EXAMPLES = """\
examples:
  rec-denoiser run
      the whole job on generated shoppers
  rec-denoiser run --source u.data --format movielens --noise 0,0.2
      the same on MovieLens-100K
  rec-denoiser recommend --history phone-017,charger-004
      what the best model offers after these items
  rec-denoiser ui mlflow
      compare models in the browser

State lives in var/ of the project, or in $REC_DENOISER_HOME; deleting that folder
is a full reset."""

RUN_EXAMPLES = """\
examples:
  rec-denoiser run
      every method on the generated shoppers, clean and with 20 % noise
  rec-denoiser run --source u.data --format movielens --noise 0,0.2 --seeds 1
      MovieLens-100K in its own format
  rec-denoiser run --source log.parquet --user-col who --item-col what \\
                   --order-col position --methods sasrec-softmax --epochs 40
      any CSV, TSV, JSON-lines or Parquet file with named columns
  rec-denoiser run --source log.csv --time-col when --noise 0 --json result.json
      the log as it is, with the figures written to a file"""

INGEST_EXAMPLES = """\
examples:
  rec-denoiser ingest --source log.csv --user-col who --item-col what --time-col when
      a log with a header of its own
  rec-denoiser ingest --source ratings.dat --format movielens --k-core 5
      MovieLens-1M, without users and items of fewer than 5 events"""

RECOMMEND_EXAMPLES = """\
examples:
  rec-denoiser recommend --history phone-017,charger-004 --k 5
      after `rec-denoiser run`: five items for one history
  rec-denoiser recommend --source u.data --format movielens
      after `rec-denoiser run --source u.data --format movielens`: ten items for
      every user of the log, as a Parquet file"""

DEPLOY_EXAMPLES = """\
examples:
  rec-denoiser deploy
      to http://127.0.0.1:4200, which `rec-denoiser ui prefect` serves
  PREFECT_API_URL=http://prefect.example.org/api rec-denoiser deploy
      to another server"""

WORKER_EXAMPLES = """\
examples:
  rec-denoiser worker
      until Ctrl-C, beside `rec-denoiser ui prefect`"""

UI_EXAMPLES = """\
examples:
  rec-denoiser ui mlflow
      runs, metrics and models at http://127.0.0.1:5000
  rec-denoiser ui prefect --port 4300
      flow runs and schedules at http://127.0.0.1:4300"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0, 1 for a failed run, 2 for input that cannot be used."""
    parser = _parser()
    options = parser.parse_args(arguments)
    from tasks.errors import InputError, RunFailed

    try:
        status: int = options.command(options)
    except InputError as error:
        print(f"{PROGRAM}: error: {error}", file=sys.stderr)
        return BAD_INPUT
    except RunFailed as error:
        print(f"{PROGRAM}: failed: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print(f"{PROGRAM}: interrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    return status


class _Parser(argparse.ArgumentParser):
    """One sentence for a wrong command line, with the nearest option where one is misspelt."""

    def __init__(self, **options: Any) -> None:
        fixed = {"allow_abbrev": False, "formatter_class": _formatter}
        super().__init__(**(options | fixed))

    def error(self, message: str) -> NoReturn:
        unknown = re.match(r"unrecognized arguments: (--[^\s=]+)", message)
        if unknown:
            known = [option for action in self._actions for option in action.option_strings]
            nearest = difflib.get_close_matches(unknown[1], known, n=1)
            message = f"there is no option {unknown[1]}" + (f": did you mean {nearest[0]}?" if nearest else "")
        message = message.removeprefix("argument ")
        self.exit(BAD_INPUT, f"{self.prog}: error: {message} (see {self.prog} --help)\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """A subcommand's parser refuses what it does not know itself, so that it can name its own options."""
        parsed, rest = super().parse_known_args(args, namespace)
        if rest and self._subparsers is None:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return parsed, rest


def _formatter(prog: str) -> argparse.HelpFormatter:
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=26)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=PROGRAM, usage="%(prog)s COMMAND [options]", description=OVERVIEW, epilog=EXAMPLES)
    # The overview lists the commands, with more room than argparse would.
    commands = parser.add_subparsers(required=True, metavar="COMMAND", help=argparse.SUPPRESS, prog=PROGRAM)

    def command(
        name: str, run: Callable[[argparse.Namespace], int], *, about: str, epilog: str, usage: str = "[options]"
    ) -> _Parser:
        added: _Parser = commands.add_parser(name, usage=f"%(prog)s {usage}", description=about, epilog=epilog)
        added.set_defaults(command=run)
        return added

    _add_run(
        command(
            "run",
            _run,
            about="The main job: read and check a log, corrupt it, train every method on clean and\n"
            "noisy data, rank, print a table and register the best model. Run again, it takes\n"
            "finished steps from the cache and goes on where it was interrupted.",
            epilog=RUN_EXAMPLES,
            usage="[--source PATH] [options]",
        )
    )
    _add_source(
        command(
            "ingest",
            _ingest,
            about="Make a checked snapshot of a log.",
            epilog=INGEST_EXAMPLES,
            usage="[--source PATH] [options]",
        )
    )
    _add_recommend(
        command(
            "recommend",
            _recommend,
            about="Score one history, or every user of a log, with a registered model.",
            epilog=RECOMMEND_EXAMPLES,
            usage="[--history ID,ID | --source PATH] [options]",
        )
    )
    command(
        "deploy",
        _deploy,
        about="Put the flows of prefect.yaml on a Prefect server, with their schedules, after\n"
        "making the work pool and the concurrency limits that they rely on. Given again,\n"
        "it brings over what has changed in prefect.yaml.",
        epilog=DEPLOY_EXAMPLES,
        usage="",
    )
    command(
        "worker",
        _worker,
        about="Run what the Prefect server has scheduled or was asked for, until it is ended.",
        epilog=WORKER_EXAMPLES,
        usage="",
    )
    _add_ui(
        command(
            "ui",
            _ui,
            about="Open a user interface on this project's state.",
            epilog=UI_EXAMPLES,
            usage="{mlflow,prefect} [--port N]",
        )
    )
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    _add_source(parser)
    noise = parser.add_argument_group("noise put in on purpose")
    noise.add_argument(
        "--noise", type=_list_of(_ratio), metavar="R,R", help="shares of training events replaced (default 0,0.2)"
    )
    noise.add_argument("--noise-seed", type=_whole(0), metavar="N", help="seed of the replacements (default 0)")
    models = parser.add_argument_group("models")
    models.add_argument(
        "--methods",
        type=_list_of(str),
        metavar="M,M",
        help="of sasrec-bce, sasrec-softmax, rec-denoiser (default all)",
    )
    for option, kind, metavar, text in (
        ("length", _whole(1), "N", "how many past events a model sees (default 50)"),
        ("dim", _whole(1), "N", "width, a multiple of the heads (default 50)"),
        ("blocks", _whole(1), "N", "attention blocks (default 2)"),
        ("heads", _whole(1), "N", "attention heads of a block (default 2)"),
        ("dropout", _ratio, "P", "dropout probability (default 0.2)"),
        ("negatives", _whole(1), "N", "sampled negatives for each position, where the loss samples (default 1)"),
        ("gate-logit", _number, "X", "rec-denoiser: the gate's initial logit (default 2)"),
        ("beta", _number, "X", "rec-denoiser: weight of the gate's penalty (default 0.06)"),
    ):
        models.add_argument(f"--{option}", type=kind, metavar=metavar, help=text)
    models.add_argument(
        "--norm", choices=("authors", "pre", "post"), help="where the layer norms stand (default authors)"
    )
    training = parser.add_argument_group("training (defaults for generated shoppers in brackets)")
    training.add_argument("--seeds", type=_list_of(_whole(0)), metavar="N,N", help="one training each (default 1)")
    for option, kind, metavar, text in (
        ("epochs", _whole(1), "N", "passes over the data, at most (default 100 [25])"),
        ("patience", _whole(1), "N", "validations without a gain before it stops (default 10 [5])"),
        ("validate-every", _whole(1), "N", "epochs between validations (default 1 [1])"),
        ("batch-size", _whole(1), "N", "users in a step (default 128 [64])"),
        ("learning-rate", _number, "X", "of Adam (default 0.001 [0.002])"),
    ):
        training.add_argument(f"--{option}", type=kind, metavar=metavar, help=text)
    execution = parser.add_argument_group("execution")
    execution.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), help="auto takes a GPU where there is one (default auto)"
    )
    execution.add_argument("--threads", type=_whole(1), metavar="N", help="threads of each training (default 1)")
    execution.add_argument(
        "--side-by-side", type=_whole(1), metavar="N", help="trainings at a time (default: as many as cores allow)"
    )
    execution.add_argument("--time-limit", type=_number, metavar="MIN", help="minutes for each training (default 240)")
    execution.add_argument(
        "--evaluation-seed", type=_whole(0), metavar="N", help="seed of the candidates ranked (default 0)"
    )
    output = parser.add_argument_group("output")
    output.add_argument("--json", metavar="FILE", help="write figures, digests and the record of the run to FILE")


def _add_source(parser: argparse.ArgumentParser) -> None:
    source = parser.add_argument_group("data (without --source: the generated shoppers)")
    source.add_argument("--source", metavar="PATH", help="a CSV, TSV, JSON-lines (also .gz) or Parquet file")
    source.add_argument(
        "--format",
        choices=("interactions", "movielens"),
        help="named columns, or MovieLens' own files (default interactions)",
    )
    source.add_argument("--user-col", metavar="NAME", help="column of user ids (default user_id)")
    source.add_argument("--item-col", metavar="NAME", help="column of item ids (default item_id)")
    source.add_argument("--time-col", metavar="NAME", help="column of times (default: the file's order counts)")
    source.add_argument("--order-col", metavar="NAME", help="column of numbers that order events, after time")
    source.add_argument("--noise-col", metavar="NAME", help="column that names known noise, empty where genuine")
    source.add_argument(
        "--k-core", type=_whole(0), metavar="K", help="drop users and items with fewer events (default 0)"
    )
    source.add_argument(
        "--dataset", type=_name, metavar="NAME", help="name in runs and models (default: after the file)"
    )


def _add_recommend(parser: argparse.ArgumentParser) -> None:
    wanted = parser.add_argument_group("what to recommend")
    wanted.add_argument(
        "--history",
        type=_list_of(str),
        metavar="ID,ID",
        help="one user's item ids, oldest first (default: a log's users)",
    )
    wanted.add_argument("--k", type=_whole(1), metavar="N", help="items for each user (default 10)")
    wanted.add_argument("--include-seen", action="store_true", help="offer items of the history too")
    wanted.add_argument("--alias", metavar="ALIAS", help="which version of the model (default champion)")
    _add_source(parser)


def _add_ui(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("which", choices=("mlflow", "prefect"), help="whose user interface")
    parser.add_argument(
        "--port", type=_whole(1, most=65_535), metavar="N", help="default 5000 for mlflow, 4200 for prefect"
    )


def _run(options: argparse.Namespace) -> int:
    spec = robustness_spec(options)
    from flows.environment import prepare_environment

    prepare_environment()
    from flows.running import run_job

    return run_job(spec, json_path=options.json)


def _ingest(options: argparse.Namespace) -> int:
    spec = _validated("IngestSpec", _log_part(options))
    from flows.environment import prepare_environment

    prepare_environment()
    from flows.running import run_ingest

    return run_ingest(spec)


def _recommend(options: argparse.Namespace) -> int:
    spec = recommend_spec(options)
    from flows.environment import prepare_environment

    prepare_environment()
    from flows.running import run_recommend

    return run_recommend(spec)


def _deploy(options: argparse.Namespace) -> int:  # noqa: ARG001
    from flows.environment import expect_local_server, prepare_environment

    prepare_environment()
    expect_local_server()
    from flows.deploying import deploy

    return deploy()


def _worker(options: argparse.Namespace) -> int:  # noqa: ARG001
    from flows.environment import expect_local_server, prepare_environment

    prepare_environment()
    expect_local_server()
    from flows.deploying import work

    work()


def _ui(options: argparse.Namespace) -> int:
    from flows.environment import prepare_environment

    prepare_environment()
    from flows.running import open_ui

    open_ui(options.which, port=options.port)


def robustness_spec(options: argparse.Namespace) -> "RobustnessSpec":
    """The spec of `run`'s options. Raises `InputError` where they do not make sense together."""
    from tasks.errors import InputError
    from tasks.specs import METHODS, default_training, named_method

    model = _given(options, "length", "dim", "blocks", "heads", "dropout", "norm", "negatives", "gate_logit", "beta")
    try:
        methods = [named_method(name, **model) for name in options.methods or METHODS]
    except ValueError as error:
        raise InputError(str(error)) from None
    log = _log_part(options)
    settings = _given(options, "epochs", "patience", "validate_every", "batch_size", "learning_rate")
    source = _validated("SourceSpec", log["source"])
    values = log | {
        "noise": _given(options, ratios="noise", seed="noise_seed"),
        "methods": [method.model_dump() for method in methods],
        "training": default_training(source).to_dict() | settings,
        "execution": _given(options, "device", "threads", "side_by_side", time_limit_minutes="time_limit"),
    }
    spec: RobustnessSpec = _validated("RobustnessSpec", values | _given(options, "seeds", "evaluation_seed"))
    return spec


def recommend_spec(options: argparse.Namespace) -> "RecommendSpec":
    """The spec of `recommend`'s options."""
    values = _log_part(options) | _given(options, "alias", "k", "history")
    spec: RecommendSpec = _validated("RecommendSpec", values | {"exclude_seen": not options.include_seen})
    return spec


def _log_part(options: argparse.Namespace) -> dict[str, Any]:
    """source, prepare and dataset, as every command that reads a log takes them."""
    columns = _given(options, user="user_col", item="item_col", time="time_col", order="order_col", noise="noise_col")
    source = _given(options, "format", path="source")
    if columns or options.source is None:
        source["columns"] = columns
    named = options.dataset or (_dataset_name(options.source) if options.source else None)
    return {"source": source, "prepare": _given(options, "k_core")} | ({"dataset": named} if named else {})


def _validated(name: str, values: dict[str, Any]) -> Any:
    """The spec called `name`, or an `InputError` that names the first field that is wrong."""
    from pydantic import ValidationError

    from tasks import specs
    from tasks.errors import InputError

    try:
        return getattr(specs, name).model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        fields = [part for part in first["loc"] if isinstance(part, str)]
        message = first["msg"].removeprefix("Value error, ")
        raise InputError(f"{_option(fields[-1])}: {message}" if fields else message) from None


def _option(field: str) -> str:
    """The option that sets a field of a spec."""
    renamed = {"time_limit_minutes": "time_limit", "ratios": "noise", "path": "source"}
    return "--" + renamed.get(field, field).replace("_", "-")


def _given(options: argparse.Namespace, *names: str, **renamed: str) -> dict[str, Any]:
    """Those of the options that were given, by their names in the spec."""
    wanted = {name: name for name in names} | renamed
    return {key: getattr(options, name) for key, name in wanted.items() if getattr(options, name) is not None}


def _dataset_name(path: str) -> str:
    """A file's name as the name of a dataset: `../data/ML-1M.parquet` → `ml-1m`."""
    stem = re.split(r"[\\/]", path.rstrip("/\\"))[-1].lower()
    stem = re.sub(r"(\.u)?(\.(gz|csv|tsv|txt|parquet|jsonl|ndjson|json|dat|data))+$", "", stem)
    return re.sub(r"[^a-z0-9._-]+", "-", stem).strip("-._")[:60] or "log"


def _ratio(text: str) -> float:
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


def _list_of(parse: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    def parse_list(text: str) -> list[Any]:
        parts = [part.strip() for part in text.split(",")]
        if not all(parts):
            raise argparse.ArgumentTypeError(f"{text!r} has an empty place: part the values by single commas")
        return [parse(part) for part in parts]

    return parse_list


if __name__ == "__main__":
    sys.exit(main())
