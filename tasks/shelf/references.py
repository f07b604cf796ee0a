"""Who refers to a snapshot: MLflow runs, registered models, and files of scored users."""

import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from tasks.home import Home
from tasks.mlflow_store import connect, every_experiment, every_page, every_run, tracking_uri, unreadable
from tasks.register import TAG_SNAPSHOT
from tasks.snapshots import snapshot_name

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

SQLITE = "sqlite:///"
KEPT = "references.json"
NAME = re.compile(r"[0-9a-f]{16}")


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
    return _of(names, _asked(home) if names and _is_there(home) else _Mentions(), home)


def last_references(names: Collection[str], *, home: Home) -> dict[str, References]:
    """The same, from what MLflow said when it was last asked here, where its database has not been written to since:
    importing MLflow takes seconds. Raises as `references` does.
    """
    if not names or not _is_there(home):
        return _of(names, _Mentions(), home)
    kept, state = home.mlflow / KEPT, _state_of_database(home)
    held = _held(kept)
    if state is None or held is None or held.state != state:
        held = _Kept(state or (), _asked(home))
        if state is not None:
            unnamed = kept.with_suffix(f".{os.getpid()}")
            unnamed.write_bytes(TypeAdapter(_Kept).dump_json(held))
            unnamed.replace(kept)
    return _of(names, held.mentions, home)


@dataclass(frozen=True)
class _Mentions:
    """Every run and every model's version with the names of the snapshots that it mentions."""

    runs: tuple[tuple[RunReference, frozenset[str]], ...] = ()
    models: tuple[tuple[ModelReference, frozenset[str]], ...] = ()


@dataclass(frozen=True)
class _Kept:
    """What MLflow said, and the state of its database before it was asked."""

    state: tuple[str, ...]
    mentions: _Mentions


def _of(names: Collection[str], mentions: _Mentions, home: Home) -> dict[str, References]:
    return {
        name: References(
            runs=tuple(run for run, mentioned in mentions.runs if name in mentioned),
            models=tuple(model for model, mentioned in mentions.models if name in mentioned),
            scored=_scored(name, home),
        )
        for name in names
    }


def _held(kept: Path) -> _Kept | None:
    """What was kept; nothing where there is no such file, or where another version wrote it."""
    try:
        return TypeAdapter(_Kept).validate_json(kept.read_bytes())
    except (OSError, ValidationError):
        return None


def _state_of_database(home: Home) -> tuple[str, ...] | None:
    """Size and time of each of the SQLite database's files; None where MLflow's memory is anything else."""
    uri = tracking_uri(home)
    if not uri.startswith(SQLITE) or "MLFLOW_REGISTRY_URI" in os.environ:
        return None
    path = uri.removeprefix(SQLITE).partition("?")[0]
    files = [Path(path + suffix) for suffix in ("", "-journal", "-wal")]
    return (uri, *(f"{file.stat().st_size} {file.stat().st_mtime_ns}" if file.exists() else "" for file in files))


def _scored(name: str, home: Home) -> tuple[Path, ...]:
    return tuple(sorted(path for path in home.recommendations.glob(f"*-{name}") if any(path.glob("*.parquet"))))


def _is_there(home: Home) -> bool:
    """Is there a database, as far as can be told without asking MLflow, who would make it?"""
    uri = tracking_uri(home)
    return not uri.startswith(SQLITE) or Path(uri.removeprefix(SQLITE).partition("?")[0]).exists()


def _asked(home: Home) -> _Mentions:
    """What MLflow says now."""
    from mlflow.exceptions import MlflowException

    try:
        client = connect(home)
        runs = {
            run.info.run_id: (_reference(run), _snapshots_of(run))
            for run in every_run(client, every_experiment(client))
        }
        aliases = _aliases(client)
        models = []
        for version in every_page(lambda token: client.search_model_versions(page_token=token)):
            _, of_run = runs.get(version.run_id or "", (None, frozenset()))
            carried = tuple(sorted(aliases.get((version.name, str(version.version)), ())))
            made_from = of_run | {snapshot_name(version.tags.get(TAG_SNAPSHOT, ""))}
            models.append((ModelReference(version.name, str(version.version), carried), frozenset(made_from)))
    except MlflowException as error:
        raise unreadable(error, home) from None
    return _Mentions(tuple(runs.values()), tuple(models))


def _snapshots_of(run: "Run") -> frozenset[str]:
    """The names of the snapshots that a run names, in whatever parameter, and of its datasets."""
    datasets = run.inputs.dataset_inputs if run.inputs else []
    digests = {tag.value for dataset in datasets for tag in dataset.tags if tag.key == "sha256"}
    named = {value for value in run.data.params.values() if NAME.fullmatch(value)}
    return frozenset(named | {snapshot_name(digest) for digest in digests})


def _reference(run: "Run") -> RunReference:
    info = run.info
    dataset = run.data.tags.get("dataset") or run.data.params.get("dataset", "")
    return RunReference(str(info.run_id), str(info.run_name), str(info.status), str(dataset))


def _aliases(client: "MlflowClient") -> dict[tuple[str, str], list[str]]:
    """The aliases of each version (model's name, number)."""
    found: dict[tuple[str, str], list[str]] = {}
    for model in every_page(lambda token: client.search_registered_models(page_token=token)):
        for alias, version in model.aliases.items():
            found.setdefault((model.name, str(version)), []).append(alias)
    return found
