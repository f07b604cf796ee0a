"""Put a trained model into MLflow's registry, as something that serves raw ids."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import sql
from models.description import MODEL_FILES, described
from tasks.engine import engine
from tasks.home import PROJECT_ROOT, Home
from tasks.locks import locked
from tasks.promotion import Comparison, compared
from tasks.scratch import working_folder
from tasks.snapshots import Snapshot
from tasks.track import TAG_KEY, Tracker
from tasks.train import Trained

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import ModelSignature

CHAMPION = "champion"
CHALLENGER = "challenger"
TAG_SNAPSHOT = "rec_denoiser.snapshot"
TAG_VALUE = "rec_denoiser.deciding_value"
TAG_SPLIT = "rec_denoiser.decided_on"
TAG_UNDECIDED = "rec_denoiser.undecided"
"""Of a version that has been given no alias yet."""

TAG_COMPARED = "rec_denoiser.compared"
"""How a version did beside the champion that it was compared with, as JSON of a `tasks.promotion.Comparison`."""

TAG_VERSIONS = "mlflow.modelVersions"
"""Where MLflow's page of a logged model looks for the versions that it is registered as."""

REQUIREMENTS = ("mlflow", "numpy", "pandas", "torch")
EXAMPLE_LENGTH = 5
DESCRIPTION = (
    "Next-item recommender: takes histories of raw item ids, the oldest first, and gives the items that come next with "
    "their scores. The version with the alias `champion` is the one to be used; `challenger` did not take its place."
)

Reason = Literal["first", "standing", "better", "as good", "not compared", "by hand", "not better", "worse", "older"]
REASONS: Mapping[Reason, str] = {
    "first": "there was no champion",
    "standing": "it is the champion already",
    "better": "that is better than the champion's before it, of the same data",
    "as good": "the champion before it, of other data, is not significantly better on the same targets: {compared}",
    "not compared": "it takes the place of version {version}, of other data, which was not compared: {compared}",
    "by hand": "it was asked for, and the champion before it stands on other data",
    "not better": "the champion of the same data is at least as good there, and stays",
    "worse": "the champion, of other data, is significantly better on the same targets, and stays: {compared}; "
    "`rec-denoiser register` promotes this one all the same",
    "older": "it is older than the champion, which stands on other data; `rec-denoiser register` promotes it",
}
"""Why a version has its alias."""


@dataclass(frozen=True)
class Registered:
    """A version of a registered model, its figure and the split that this is of, the alias that it carries, and why;
    with a champion of other data, how the two compare.
    """

    name: str
    version: str
    alias: str
    decided_on: str
    value: float
    reason: Reason
    comparison: Comparison | None = None

    @property
    def told(self) -> str:
        """Why it has its alias, in words."""
        if self.comparison is None:
            return REASONS[self.reason]
        return REASONS[self.reason].format(compared=self.comparison.told, version=self.comparison.version)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON."""
        return asdict(self) | {"told": self.told}


def register(
    trained: Trained,
    snapshot: Snapshot,
    *,
    clean: Snapshot,
    name: str,
    key: str,
    value: float,
    decided_on: str,
    ranks: Path,
    tags: Mapping[str, str],
    run_id: str,
    tracker: Tracker,
    home: Home,
    offered_by: Literal["job", "person"] = "job",
) -> Registered:
    """Register the model under `name`, once for a `key`, and decide its alias; others who would do so wait.

    The model was trained on `snapshot`. `value` is its figure on the split `decided_on` of `clean`, the log as it was
    asked for, ranked with that one's histories; `ranks` is the file of `tasks.evaluate` that it comes of. A version
    keeps figure and split as tags. Among versions of the same `clean` and split, figures are of the same targets: the
    one that is offered becomes the champion where its own is strictly better, and a tie changes nothing. It also
    becomes the champion where there is none. Where the champion stands on other data, a new one is compared with it on
    the targets of `clean`, and becomes the champion unless it is worse (`tasks.promotion`); one that is not new was
    decided on before, and changes nothing; who names a model means it, and it becomes the champion without being
    compared. Else it becomes the challenger.

    Who would register under the same name waits as long as that takes: no champion changes while it is asked. A version
    keeps what came of it, so that another start does not ask again. Raises `InputError` where MLflow cannot be read.
    """
    held = home.mlflow / ".registering" / name
    held.mkdir(parents=True, exist_ok=True)
    with locked(held):
        found = _version_of(tracker.client, name, key)
        if found is None:
            called = tags.get("method", "model")
            model_id = _log_model(
                trained, snapshot, name=name, called=called, run_id=run_id, tracker=tracker, home=home
            )
            facts = {
                TAG_KEY: key,
                TAG_SNAPSHOT: clean.digest,
                TAG_SPLIT: decided_on,
                TAG_VALUE: repr(value),
                TAG_UNDECIDED: "true",
            }
            described = _described(snapshot, tags, decided_on=decided_on, value=value)
            found = _create_version(
                tracker.client, name, model_id, run_id=run_id, tags={**tags, **facts}, description=described
            )

        def beside(champion: str) -> Comparison:
            ids, _ = catalogue(clean)
            return compared(name, champion, clean=clean, ids=ids, ranks=ranks, decided_on=decided_on, home=home)

        reason, comparison = _decision(tracker.client, name, found, beside, is_named=offered_by == "person")
        alias = CHALLENGER if reason in ("not better", "worse", "older") else CHAMPION
        _give(tracker.client, name, found, alias)
    deciding = found.tags[TAG_SPLIT], float(found.tags[TAG_VALUE])
    return Registered(name, str(found.version), alias, *deciding, reason, comparison)


def catalogue(snapshot: Snapshot) -> tuple[list[Any], list[int]]:
    """Raw ids and popularity of a snapshot's items by number, from 1, as a served model carries them."""
    query = sql.load(
        "register/catalogue",
        items=sql.literal(str(snapshot.items)),
        interactions=sql.literal(str(snapshot.interactions)),
        users=sql.literal(str(snapshot.users)),
    )
    with engine() as connection:
        rows = connection.execute(query).fetchall()
    as_id = int if snapshot.manifest.item_id_type == "integer" else str
    return [as_id(raw) for raw, _ in rows], [int(popularity) for _, popularity in rows]


def _described(snapshot: Snapshot, tags: Mapping[str, str], *, decided_on: str, value: float) -> str:
    """What the registry's page says of a version, in Markdown."""
    counts = snapshot.counts
    data = f"{counts.interactions:,} interactions of {counts.users:,} users with {counts.items:,} items"
    return (
        f"{tags.get('method', 'A model')}, trained on snapshot `{snapshot.name}` ({data}). NDCG@10 among all unseen "
        f"items on the split {decided_on}, which decides on the alias: {value:.4f}. The source run has every other "
        "figure, the data and the settings."
    )


def _log_model(
    trained: Trained, snapshot: Snapshot, *, name: str, called: str, run_id: str, tracker: Tracker, home: Home
) -> str:
    """Make of the run's logged model one that can be served; its id. A run that has none gets one, whose parameters and
    figures are the run's.

    `name` is that of the registered model, `called` what the list of logged models calls a new one.
    """
    import mlflow
    import pandas as pd

    from models.serving import CATALOGUE_FILE
    from models.storage import load_model

    ids, popularity = catalogue(snapshot)
    with working_folder(home.steps / "register") as work:
        folder = work / "model"
        folder.mkdir()
        for file in MODEL_FILES:
            shutil.copy2(trained.folder / file, folder / file)
        content = json.dumps({"ids": ids, "popularity": popularity}, ensure_ascii=False)
        (folder / CATALOGUE_FILE).write_text(content, encoding="utf-8")
        by_popularity = sorted(range(len(ids)), key=lambda number: -popularity[number])
        example = [ids[number] for number in by_popularity[:EXAMPLE_LENGTH]]
        model = tracker.log_model(
            run_id,
            trained.model_files,
            called=called,
            params=tracker.client.get_run(run_id).data.params,
            step=tracker.chosen_epoch(run_id),
        )
        mlflow.pyfunc.log_model(
            model_id=model.model_id,
            python_model=str(PROJECT_ROOT / "models" / "serving.py"),
            artifacts={"model": str(folder)},
            code_paths=[str(_code(work))],
            signature=_signature(snapshot, takes_times="times" in load_model(folder).needs),
            input_example=pd.DataFrame({"history": [example, example[:1]]}),
            pip_requirements=[f"{library}=={version(library).split('+')[0]}" for library in _libraries(folder)],
            metadata={"snapshot": snapshot.digest, "registered_as": name},
        )
    tracker.link_model(run_id, model.model_id)
    return str(model.model_id)


def _libraries(folder: Path) -> tuple[str, ...]:
    """What the model in `folder` imports where it is served."""
    from models.catalogue import LIBRARIES
    from models.own import imported

    config = described(folder).config
    of_packages = packages_distributions()
    named = (imported(config.own_code) | imported(config.own_noise_code)) - {"models"}
    own = {library for name in named for library in of_packages.get(name, ())}
    return tuple(dict.fromkeys((*REQUIREMENTS, *LIBRARIES.get(config.gate, ()), *sorted(own))))


def _code(work: Path) -> Path:
    """A copy of `models/` without what Python compiled, for the model to carry."""
    copy = work / "code" / "models"
    shutil.copytree(PROJECT_ROOT / "models", copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def _signature(snapshot: Snapshot, *, takes_times: bool) -> "ModelSignature":
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import AnyType, Array

    from models.serving import PARAMETERS

    raw_id = DataType.long if snapshot.manifest.item_id_type == "integer" else DataType.string
    # Of a list of strings with a null in it MLflow leaves one letter each, which may be another item's id: the model
    # looks for itself.
    history_id = AnyType() if raw_id == DataType.string else raw_id
    times = [ColSpec(Array(DataType.long), "times", required=False)] if takes_times else []
    return ModelSignature(
        inputs=Schema(
            [ColSpec(Array(history_id), "history"), *times, ColSpec(DataType.long, "trained", required=False)]
        ),
        outputs=Schema(
            [
                ColSpec(Array(raw_id), "items"),
                ColSpec(Array(DataType.double), "scores"),
                ColSpec(DataType.string, "basis"),
            ]
        ),
        params=ParamSchema(
            [
                ParamSpec("k", DataType.long, PARAMETERS["k"]),
                ParamSpec("exclude_seen", DataType.boolean, PARAMETERS["exclude_seen"]),
                *(ParamSpec(name, raw_id, PARAMETERS[name], shape=(-1,)) for name in ("only", "exclude")),
            ]
        ),
    )


def _create_version(
    client: "MlflowClient", name: str, model_id: str, *, run_id: str, tags: Mapping[str, str], description: str
) -> "ModelVersion":
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, description=DESCRIPTION)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    version = client.create_model_version(
        name, f"models:/{model_id}", run_id=run_id, tags=dict(tags), description=description, model_id=model_id
    )
    # Without a server between, MLflow leaves it to its caller to tell the logged model of its versions.
    held = json.loads(client.get_logged_model(model_id).tags.get(TAG_VERSIONS, "[]"))
    own = {"name": name, "version": str(version.version)}
    if own not in held:
        client.set_logged_model_tags(model_id, {TAG_VERSIONS: json.dumps([*held, own])})
    return version


def _version_of(client: "MlflowClient", name: str, key: str) -> "ModelVersion | None":
    versions = client.search_model_versions(f"name = '{name}' and tags.`{TAG_KEY}` = '{key}'")
    return versions[0] if versions else None


def _is_new(version: "ModelVersion") -> bool:
    return TAG_UNDECIDED in version.tags


def _decision(
    client: "MlflowClient",
    name: str,
    candidate: "ModelVersion",
    beside: Callable[[str], Comparison],
    *,
    is_named: bool,
) -> tuple[Reason, Comparison | None]:
    """Why the candidate becomes champion or challenger; `beside` compares it with a champion of other data."""
    champion = _champion(client, name)
    if champion is None:
        return "first", None
    if champion.version == candidate.version:
        return "standing", None
    if all(champion.tags.get(tag) == candidate.tags[tag] for tag in (TAG_SNAPSHOT, TAG_SPLIT)):
        better = float(candidate.tags[TAG_VALUE]) > float(champion.tags[TAG_VALUE])
        return "better" if better else "not better", None
    if is_named:
        return "by hand", None
    held = _held_comparison(candidate, champion)
    if not _is_new(candidate):
        return ("worse", held) if held is not None and held.is_worse else ("older", None)
    comparison = held or beside(str(champion.version))
    client.set_model_version_tag(name, candidate.version, TAG_COMPARED, json.dumps(asdict(comparison)))
    if comparison.refused is not None:
        return "not compared", comparison
    return "worse" if comparison.is_worse else "as good", comparison


def _held_comparison(candidate: "ModelVersion", champion: "ModelVersion") -> Comparison | None:
    """What came of it where the candidate was compared with this champion before."""
    if TAG_COMPARED not in candidate.tags:
        return None
    held = Comparison(**json.loads(candidate.tags[TAG_COMPARED]))
    return held if held.version == str(champion.version) else None


def _give(client: "MlflowClient", name: str, version: "ModelVersion", alias: str) -> None:
    """Have the version carry the one alias of the two."""
    client.set_registered_model_alias(name, alias, version.version)
    if alias == CHAMPION and client.get_registered_model(name).aliases.get(CHALLENGER) == version.version:
        client.delete_registered_model_alias(name, CHALLENGER)
    if _is_new(version):
        client.delete_model_version_tag(name, version.version, TAG_UNDECIDED)


def _champion(client: "MlflowClient", name: str) -> "ModelVersion | None":
    """The version that carries the champion's alias, with its tags."""
    aliases = client.get_registered_model(name).aliases
    return client.get_model_version(name, aliases[CHAMPION]) if CHAMPION in aliases else None
