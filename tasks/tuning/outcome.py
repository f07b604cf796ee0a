"""What came of a search's trials, put together as `tasks.tuning.result` says it, and the study that follows."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from itertools import count, islice
from pathlib import Path
from typing import Any

import yaml

from tasks.execution import Execution
from tasks.home import Home
from tasks.plan import Cell
from tasks.reporting.page import PAGE, TABLES
from tasks.sources.addresses import without_secrets_in
from tasks.sources.source import matching
from tasks.study.outcome import TUNE_FILE, Earlier, attempted, datasets_of, publish_folder, study_folder
from tasks.study.result import Figures
from tasks.study.settings import OF_A_METHOD, Settings, nested
from tasks.track import reason
from tasks.train import Trained, training_folder
from tasks.tuning.expand import Method, Tuning
from tasks.tuning.result import MethodResult, TrialCell, TrialResult, TuneResult, best_of
from tasks.tuning.search import Search, Trial, mean_or_none
from tasks.tuning.space import SEARCHED, Range
from tasks.tuning.specs import TuneRequest

STUDY_FILE = "tuned.yaml"
FILES = (TUNE_FILE, STUDY_FILE, PAGE, TABLES)
"""What a search's folder may hold."""

LESS_SECRETS = """\
# The log's address stands here without user, password and query: give it whole where it needs them, with
#   --set base.source.path=ADDRESS --set base.dataset=NAME
"""
FRESH_SEEDS = 3
"""At least so many seeds in the study that follows: fewer would say nothing about other trainings."""


@dataclass(frozen=True)
class Ended:
    """How a trial's training with one seed ended."""

    cell: Cell
    run: str
    failure: Exception | None


def validation_of(cell: Cell, *, home: Home) -> dict[str, float]:
    """The validation metrics of a finished training at the epoch whose weights were chosen."""
    result = Trained(training_folder(cell.train_key, home=home)).result()
    chosen = next(epoch for epoch in result["history"] if epoch["epoch"] == result["best_epoch"])
    return {name: value for name, value in chosen["metrics"].items() if name.startswith("validation.")}


def trial_result(trial: Trial, ended: Iterable[Ended], *, metric: str, home: Home) -> TrialResult:
    """A trial with its value, the mean over its seeds."""
    cells = tuple(_trial_cell(each, home) for each in ended)
    value = mean_or_none([cell.metrics.get(metric) for cell in cells])
    return TrialResult(trial.method, trial.number, dict(trial.settings), value, cells)


def tune_result(
    tuning: Tuning,
    searches: Iterable[Search],
    trials: tuple[TrialResult, ...],
    cells: Iterable[Cell],
    *,
    request: TuneRequest,
    docs: Mapping[str, str],
    code: Mapping[str, str],
    execution: Execution,
    started: str,
    seconds: float,
) -> TuneResult:
    """The result of the whole search. `docs` gives the pages of a snapshot's checks, by its digest."""
    spec = tuning.spec
    methods = tuple(_method_result(search, trials) for search in searches)
    return TuneResult(
        name=spec.name,
        question=spec.question,
        metric=spec.metric,
        spec=spec.model_dump(mode="json"),
        notes=tuning.notes,
        code=dict(code),
        execution=execution.to_dict(),
        drawn_by=f"optuna {version('optuna')}" if spec.sampler.kind == "tpe" else f"numpy {version('numpy')}",
        started=started,
        seconds=seconds,
        datasets=datasets_of(cells, docs),
        methods=methods,
        trials=trials,
        study=STUDY_FILE if any(method.best is not None for method in methods) else None,
        file=request.file,
        overrides=request.shown,
    )


def publish_tuning(
    result: TuneResult, tuning: Tuning, report: Callable[[TuneResult, Path], object], *, home: Home
) -> tuple[Path, Exception | None, Earlier | None]:
    """Write the result, its report and the study that follows, in the place of earlier ones. The folder, why it has no
    report where it has none (what the trainings came to is kept whatever becomes of that), and the earlier result where
    it was kept as one of other settings.
    """
    failures: list[Exception] = []

    def write(folder: Path) -> None:
        failures.extend(attempted(lambda: report(result, folder), folder))
        (folder / TUNE_FILE).write_text(result.to_json(), encoding="utf-8")
        if result.study is not None:
            (folder / result.study).write_text(following_study(result, tuning), encoding="utf-8")

    folder, earlier = publish_folder(result, TUNE_FILE, write, home=home)
    return folder, failures[0] if failures else None, earlier


def read_tuned(name: str, *, home: Home) -> TuneResult | None:
    """The result of the search of that name, where there is one."""
    path = study_folder(name, home=home) / TUNE_FILE
    return TuneResult.from_json(path.read_text(encoding="utf-8")) if path.exists() else None


def following_study(result: TuneResult, tuning: Tuning) -> str:
    """The file of the study that compares the methods, each as it comes and at its best settings where these are
    others, with seeds that no trial had; the reference is the first one, at its best.
    """
    spec = tuning.spec
    found = {method.name: result.best(method) for method in result.methods}
    kept = {name: value for name, value in spec.base.items() if not name.startswith(SEARCHED)}
    base = without_secrets_in(kept)
    each = [entries for method in tuning.methods if (entries := _entries(method, found[method.name], base))]
    methods = [entry for entries in each for entry in entries]
    fresh = (seed for seed in count(1) if seed not in spec.seeds)
    content: dict[str, Any] = {
        "name": f"{spec.name}-tested",
        "question": f"Which method is best on test at the settings that {spec.name} found on validation, and what do "
        "they gain over the methods as they come?",
        "base": nested(_found_from_everywhere(base)),
        "axes": {"method": methods, "seed": list(islice(fresh, max(FRESH_SEEDS, len(spec.seeds))))},
        "reference": each[0][-1]["name"],
        "execution": spec.execution.model_dump(exclude_defaults=True),
    }
    head = (
        f"# Every method of the search {spec.name} as it comes and at its best settings on validation\n"
        f"# ({spec.metric}), where these are others, with seeds that no trial had.\n"
        "# Written by `rec-denoiser tune`; copy it before you change it.\n"
    ) + (LESS_SECRETS if base != kept else "")
    written = {part: value for part, value in content.items() if value != {}}
    return head + yaml.safe_dump(written, sort_keys=False, allow_unicode=True, width=110)


def tuned_name(method: str) -> str:
    """What a method is called at its best settings: its own name stands for the usual ones."""
    return f"{method[:53]}-tuned"


def _entries(method: Method, best: TrialResult | None, base: Settings) -> list[dict[str, Any]]:
    """A method in the study that follows; none where nothing is known of it."""
    if best is None:
        return []
    tuned = [_entry(method, tuned_name(method.name), best.settings, base)] if best.number else []
    return [_entry(method, method.name, {}, base), *tuned]


def _entry(method: Method, called: str, settings: Settings, base: Settings) -> dict[str, Any]:
    """The entry of a study's method: all that it sets over the study's base."""
    chosen = {**method.settings, **settings}
    read = {f"model.{name}" for name in method.cell(settings, seed=0).model.effective()}
    model = {name.removeprefix("model."): value for name, value in chosen.items() if name in read}
    own = {name: value for name, value in chosen.items() if name.startswith(OF_A_METHOD) and base.get(name) != value}
    return {"name": called, **model, **nested(own)}


def _found_from_everywhere(base: Settings) -> Settings:
    """The base with a log's path in full."""
    said = base.get("source.path")
    if not isinstance(said, str):
        return base
    path = Path(said).expanduser()
    return {**base, "source.path": str(path.resolve())} if path.exists() or matching(path) else base


def _trial_cell(ended: Ended, home: Home) -> TrialCell:
    failed = ended.failure is not None
    result: dict[str, Any] = {} if failed else Trained(training_folder(ended.cell.train_key, home=home)).result()
    return TrialCell(
        seed=ended.cell.seed,
        status="failed" if failed else "done",
        failure=reason(ended.failure) if ended.failure is not None else None,
        metrics={} if failed else validation_of(ended.cell, home=home),
        figures=Figures(
            best_epoch=result.get("best_epoch"),
            epochs=result.get("epochs"),
            seconds=result.get("seconds"),
            parameters=result.get("parameters"),
            peak_memory_bytes=result.get("peak_memory_bytes"),
        ),
        train_key=ended.cell.train_key,
        mlflow_run=ended.run,
    )


def _method_result(search: Search, trials: tuple[TrialResult, ...]) -> MethodResult:
    method = search.method
    return MethodResult(
        name=method.name,
        space={name: dimension.described for name, dimension in method.space.items()},
        scales=tuple(name for name, held in method.space.items() if isinstance(held, Range) and held.log),
        best=best_of(tuple(trial for trial in trials if trial.method == method.name)),
        exhausted=search.exhausted,
    )
