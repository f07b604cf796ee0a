"""Who refers to a snapshot: MLflow runs, registered models, and files of scored users."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.errors import InputError
from tasks.home import Home
from tasks.register import TAG_SNAPSHOT
from tasks.snapshots import snapshot_name
from tasks.track import connect, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

RUNS_AT_A_TIME = 1000
SQLITE = "sqlite:///"


@dataclass(frozen=True)
class RunReference:
    """An MLflow run on the snapshot. `dataset`: the data set's name in it, "" where it says none."""

    run_id: str
    name: str
    status: str
    dataset: str


@dataclass(frozen=True)
class ModelReference:
    """A version of a registered model that was made from the snapshot, and its aliases."""

    name: str
    version: str
    aliases: tuple[str, ...]


@dataclass(frozen=True)
class References:
    """All that refers to one snapshot. `scored`: folders of its users' recommendations."""

    runs: tuple[RunReference, ...] = ()
    models: tuple[ModelReference, ...] = ()
    scored: tuple[Path, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.runs or self.models or self.scored)


def references(names: Collection[str], *, home: Home) -> dict[str, References]:
    """What refers to each of the snapshots `names`. Where there is no MLflow database, none is made.

    Raises `InputError` where MLflow's runs cannot be read.
    """
    scored = {name: _scored(name, home) for name in names}
    runs: dict[str, list[RunReference]] = {name: [] for name in names}
    models: dict[str, list[ModelReference]] = {name: [] for name in names}
    if names and _is_there(home):
        _look_up(home, runs, models)
    return {name: References(tuple(runs[name]), tuple(models[name]), scored[name]) for name in names}


def _scored(name: str, home: Home) -> tuple[Path, ...]:
    return tuple(sorted(path for path in home.recommendations.glob(f"*-{name}") if any(path.glob("*.parquet"))))


def _is_there(home: Home) -> bool:
    """Is there a database, as far as can be told without asking MLflow, who would make it?"""
    uri = tracking_uri(home)
    return not uri.startswith(SQLITE) or Path(uri.removeprefix(SQLITE).partition("?")[0]).exists()


def _look_up(home: Home, runs: Mapping[str, list[RunReference]], models: Mapping[str, list[ModelReference]]) -> None:
    """Add MLflow's runs and registered models to the lists of the snapshots that they name."""
    from mlflow.exceptions import MlflowException

    try:
        client = connect(home)
        used: dict[str, set[str]] = {}
        for run in _runs(client):
            used[run.info.run_id] = _snapshots_of(run)
            for name in used[run.info.run_id] & runs.keys():
                runs[name].append(_reference(run))
        aliases = _aliases(client)
        for version in _all(client.search_model_versions):
            made_from = used.get(version.run_id or "", set()) | {snapshot_name(version.tags.get(TAG_SNAPSHOT, ""))}
            carried = tuple(sorted(aliases.get((version.name, str(version.version)), ())))
            for name in made_from & models.keys():
                models[name].append(ModelReference(version.name, str(version.version), carried))
    except MlflowException as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"the MLflow runs at {tracking_uri(home)} cannot be read: {reason}") from None


def _runs(client: "MlflowClient") -> Iterator["Run"]:
    experiments = [experiment.experiment_id for experiment in _all(client.search_experiments)]
    if experiments:
        yield from _all(
            lambda page_token: client.search_runs(experiments, max_results=RUNS_AT_A_TIME, page_token=page_token)
        )


def _snapshots_of(run: "Run") -> set[str]:
    """The names of the snapshots that a run names, in whatever parameter, and of its datasets."""
    datasets = run.inputs.dataset_inputs if run.inputs else []
    digests = {tag.value for dataset in datasets for tag in dataset.tags if tag.key == "sha256"}
    return set(run.data.params.values()) | {snapshot_name(digest) for digest in digests}


def _reference(run: "Run") -> RunReference:
    info = run.info
    dataset = run.data.tags.get("dataset") or run.data.params.get("dataset", "")
    return RunReference(str(info.run_id), str(info.run_name), str(info.status), str(dataset))


def _aliases(client: "MlflowClient") -> dict[tuple[str, str], list[str]]:
    """The aliases of each version (model's name, number)."""
    found: dict[tuple[str, str], list[str]] = {}
    for model in _all(client.search_registered_models):
        for alias, version in model.aliases.items():
            found.setdefault((model.name, str(version)), []).append(alias)
    return found


def _all(search: Callable[..., Any]) -> Iterator[Any]:
    """Every page of a search of MLflow's."""
    token = None
    while True:
        page = search(page_token=token)
        yield from page
        token = page.token
        if not token:
            return
