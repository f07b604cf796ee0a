"""`rec-denoiser …`: every flow from the command line.

Only what a command needs is imported, when it is needed: help answers at once.
"""

import argparse
import difflib
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from flows import examples
from flows.options import (
    add_audit,
    add_datasets,
    add_diff,
    add_explain,
    add_recommend,
    add_register,
    add_rerun,
    add_run,
    add_snapshots,
    add_source,
    add_study,
    add_tune,
    add_ui,
)
from flows.requested import (
    audit_spec,
    ingest_spec,
    offerable_spec,
    recommend_spec,
    refuse_without_file,
    robustness_spec,
    study_request,
    tune_request,
)

PROGRAM = "rec-denoiser"
BAD_INPUT = 2
FAILED = 1
INTERRUPTED = 130
CUT_OFF = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0, 1 for a failed run, 2 for input that cannot be used, 130 after Ctrl-C, and
    141 where nobody reads what is printed any more, as by `head`: both as of a program that such a signal ends.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    from tasks.errors import InputError, RunFailed

    try:
        status: int = options.command(options)
        sys.stdout.flush()
    except InputError as error:
        print(f"{PROGRAM}: error: {error}", file=sys.stderr)
        return BAD_INPUT
    except RunFailed as error:
        print(f"{PROGRAM}: failed: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        goes_on = "" if options.command is _rerun else "; the same command goes on from here"
        print(f"{PROGRAM}: interrupted{goes_on}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Python would complain of what it still holds of it, too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CUT_OFF
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
        # To argparse a value such as -5,-7 looks like an option.
        lacking = re.fullmatch(r"argument (--\S+): expected one argument", message)
        if lacking:
            message += f", and one that begins with a dash behind an equals sign, as in {lacking[1]}=-1"
        message = message.removeprefix("argument ")
        self.exit(BAD_INPUT, f"{self.prog}: error: {message} (see {self.prog} --help)\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """A subcommand's parser refuses what it does not know itself, so that it can name its own options."""
        parsed, rest = super().parse_known_args(args, namespace)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return parsed, rest


class _Version(argparse.Action):
    """Say which version is installed, which takes looking for it."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from importlib.metadata import version

        print(PROGRAM, version(PROGRAM))
        parser.exit()


def _formatter(prog: str) -> argparse.HelpFormatter:
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=26)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROGRAM, usage="%(prog)s COMMAND [options]", description=examples.OVERVIEW, epilog=examples.ALL
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="say which version this is")
    # The overview lists the commands, with more room than argparse would.
    commands = parser.add_subparsers(required=True, metavar="COMMAND", help=argparse.SUPPRESS, prog=PROGRAM)

    def command(
        name: str, run: Callable[[argparse.Namespace], int], *, about: str, epilog: str, usage: str = "[options]"
    ) -> _Parser:
        added: _Parser = commands.add_parser(name, usage=f"%(prog)s {usage}", description=about, epilog=epilog)
        added.set_defaults(command=run)
        return added

    add_run(
        command(
            "run",
            _run,
            about="The main job: read and check a log, corrupt it, train every method on clean and\n"
            "noisy data, rank, print a table and register the best model. Run again, it takes\n"
            "finished steps from the cache and goes on where it was interrupted.",
            epilog=examples.RUN,
            usage="[--source PATH] [options]",
        )
    )
    add_study(
        command(
            "study",
            _study,
            about="Run every cell of a study, compare them with its reference, and write the report.\n"
            "Given again, it takes finished cells from the cache and goes on where it was\n"
            "interrupted.",
            epilog=examples.STUDY,
            usage="[FILE] [options]",
        )
    )
    add_tune(
        command(
            "tune",
            _tune,
            about="Search every method's settings with the same number of trials, the first of which is\n"
            "the method as it comes, by a validation metric alone. Writes a report, and a study\n"
            "that compares the best of each on test. Given again, it takes finished trainings\n"
            "from the cache and goes on where it was interrupted.",
            epilog=examples.TUNE,
            usage="[FILE] [options]",
        )
    )
    add_rerun(
        command(
            "rerun",
            _rerun,
            about="Train and rank again what an MLflow run holds, on its data, with its seeds and\n"
            "execution record, without the cache; say where code, packages or machine differ,\n"
            "and of each metric whether it is identical, or not known to one of two versions.\n"
            "The exit status is 0 if none differs, else 1.",
            epilog=examples.RERUN,
            usage="RUN_ID [--home FOLDER]",
        )
    )
    add_register(
        command(
            "register",
            _register,
            about="Put the model that an MLflow run trained into the registry of its data set, ranked with\n"
            "histories without injected noise. It becomes the champion where its figure on the\n"
            "promotion split is strictly better than the champion's, or where that stands on other\n"
            "data, also if it is older; else the challenger.",
            epilog=examples.REGISTER,
            usage="RUN_ID",
        )
    )
    add_diff(
        command(
            "diff",
            _diff,
            about="Compare two trainings that MLflow holds.",
            epilog=examples.DIFF,
            usage="RUN_A RUN_B [--json]",
        )
    )
    add_source(
        command(
            "ingest",
            _ingest,
            about="Make a checked snapshot of a log.",
            epilog=examples.INGEST,
            usage="[--source PATH] [options]",
        )
    )
    add_datasets(
        command(
            "datasets",
            _datasets,
            about="Public data sets that `--source NAME` fetches from their owners.",
            epilog=examples.DATASETS,
            usage="[NAME] [--fetch]",
        )
    )
    add_snapshots(
        command(
            "snapshots",
            _snapshots,
            about="Look after the snapshots in the state folder.",
            epilog=examples.SNAPSHOTS,
            usage="[ACTION] [options]",
        )
    )
    add_recommend(
        command(
            "recommend",
            _recommend,
            about="Score one history, or every user of a log, with a registered model.",
            epilog=examples.RECOMMEND,
            usage="[--history ID,ID | --source PATH] [options]",
        )
    )
    add_audit(
        command(
            "audit",
            _audit,
            about="Estimate how much of a log is noise, and rank the interactions, users and items\n"
            "that look most like it, with reasons. Judged is what the log's snapshot holds for\n"
            "training, each event by what stands on both sides of it; no network is trained,\n"
            "unless what a cleaned log gains is asked for.\n"
            "Noise that fits its neighbours cannot be told and is not counted.",
            epilog=examples.AUDIT,
            usage="[--source PATH] [options]",
        )
    )
    add_explain(
        command(
            "explain",
            _explain,
            about="What a model offers after a history, which of its events each offered item rests\n"
            "on (what the score loses without them), and what the gate does with attention.",
            epilog=examples.EXPLAIN,
            usage="(--user ID | --history ID,ID) [options]",
        )
    )
    command(
        "deploy",
        _deploy,
        about="Put the flows of prefect.yaml on a Prefect server, with their schedules, after\n"
        "making the work pool and the concurrency limits that they rely on. Given again,\n"
        "it brings over what has changed in prefect.yaml.",
        epilog=examples.DEPLOY,
        usage="",
    )
    command(
        "worker",
        _worker,
        about="Run what the Prefect server has scheduled or was asked for, until it is ended.",
        epilog=examples.WORKER,
        usage="",
    )
    add_ui(
        command(
            "ui",
            _ui,
            about="Open a user interface on this project's state.",
            epilog=examples.UI,
            usage="{mlflow,prefect} [--port N]",
        )
    )
    return parser


def _run(options: argparse.Namespace) -> int:
    spec = robustness_spec(options)
    from flows.environment import prepare_environment

    prepare_environment()
    from flows.running import run_job

    return run_job(spec, json_path=options.json)


def _study(options: argparse.Namespace) -> int:
    refuse_without_file(options, "study")
    from flows.studying import dry_run, list_studies, run_study

    if options.file is None:
        return list_studies()
    request = study_request(options)
    if options.dry_run:
        return dry_run(request, json_path=options.json)
    from flows.environment import prepare_environment

    prepare_environment()
    return run_study(request, json_path=options.json)


def _tune(options: argparse.Namespace) -> int:
    refuse_without_file(options, "tune")
    from flows.tuning import dry_run, list_searches, run_tune

    if options.file is None:
        return list_searches()
    request = tune_request(options)
    if options.dry_run:
        return dry_run(request, json_path=options.json)
    from flows.environment import prepare_environment

    prepare_environment()
    return run_tune(request, json_path=options.json)


def _rerun(options: argparse.Namespace) -> int:
    from flows.environment import prepare_environment

    prepare_environment()
    from flows.runs import run_rerun

    return run_rerun(options.run, folder=options.home)


def _register(options: argparse.Namespace) -> int:
    from flows.environment import prepare_environment

    prepare_environment()
    from flows.runs import run_register

    return run_register(options.run)


def _diff(options: argparse.Namespace) -> int:
    from flows.environment import prepare_environment

    prepare_environment()
    from flows.runs import run_diff

    return run_diff(options.a, options.b, as_json=options.json)


def _ingest(options: argparse.Namespace) -> int:
    spec = ingest_spec(options)
    from flows.environment import prepare_environment

    prepare_environment()
    from flows.running import run_ingest

    return run_ingest(spec)


def _datasets(options: argparse.Namespace) -> int:
    from flows.datasets import fetch_dataset, list_datasets, show_dataset
    from tasks.errors import InputError

    if options.name is None:
        if options.fetch:
            raise InputError("--fetch: name the data set, `rec-denoiser datasets` lists them")
        return list_datasets()
    return fetch_dataset(options.name) if options.fetch else show_dataset(options.name)


def _snapshots(options: argparse.Namespace) -> int:
    from flows.environment import prepare_environment

    prepare_environment()
    from flows.shelf import run_snapshots

    return run_snapshots(options)


def _recommend(options: argparse.Namespace) -> int:
    spec = recommend_spec(options)
    from flows.environment import prepare_environment

    prepare_environment()
    from flows.running import run_recommend

    return run_recommend(spec)


def _audit(options: argparse.Namespace) -> int:
    spec = audit_spec(options)
    from flows.environment import prepare_environment

    prepare_environment()
    from flows.auditing import run_audit

    return run_audit(spec, json_path=options.json)


def _explain(options: argparse.Namespace) -> int:
    lists = offerable_spec(options)
    from flows.environment import prepare_environment

    prepare_environment()
    from flows.explaining import run_explain

    return run_explain(
        model=options.model,
        run=options.run,
        dataset=options.dataset,
        user=options.user,
        history=options.history,
        k=options.k,
        lists=lists,
        page=options.out,
        json_path=options.json,
    )


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


if __name__ == "__main__":
    sys.exit(main())
