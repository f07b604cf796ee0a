"""Score users with a registered model."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

import sql
from tasks.engine import engine
from tasks.errors import InputError
from tasks.home import Home
from tasks.mlflow_store import connect, unreadable
from tasks.offerable import EVERYTHING, Offerable, resolved
from tasks.runs import read_run
from tasks.scratch import working_folder
from tasks.served import reading_files
from tasks.snapshots import Snapshot, open_snapshot, snapshot_name
from tasks.sources.shelved import as_made
from tasks.specs import LogSpec, RecommendSpec, registered_name

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel

USERS_AT_A_TIME = 10_000
WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]*")
LARGEST = 2**63 - 1


@dataclass(frozen=True)
class Loaded:
    """A registered model that is ready to score, which version it is, and the run that trained it."""

    model: "PyFuncModel"
    version: str
    run_id: str


def load_registered(name: str, *, alias: str, home: Home) -> Loaded:
    """The version of `name` that carries `alias`. Raises `InputError` where there is none, or MLflow cannot be read."""
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        version = connect(home).get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            known = ", ".join(registered_names(home))
            raise InputError(
                f"there is no registered model {name} with the alias {alias}: run the main job on its log first"
                + (f", or ask by --dataset for one of those that are registered: {known}" if known else "")
            ) from None
        raise unreadable(error, home) from None
    with reading_files(name, str(version.version), home=home):
        model = mlflow.pyfunc.load_model(f"models:/{name}/{version.version}")
    return Loaded(model, str(version.version), str(version.run_id))


def registered_names(home: Home) -> list[str]:
    """The models that the registry has, by name."""
    return sorted(model.name for model in connect(home).search_registered_models())


def training_log(loaded: Loaded, *, home: Home) -> LogSpec | None:
    """The log that a registered model was to be trained on, and how it was to be read and prepared; None where its run
    is gone, or written by another version.

    The snapshot's manifest does not say so: its content may have been asked for in another way before.
    """
    try:
        return read_run(loaded.run_id, home=home).spec
    except InputError:
        return None


def training_snapshot(model: "PyFuncModel", *, home: Home) -> Snapshot | None:
    """The snapshot that a registered model was trained on; None where it is gone, or written by another version."""
    digest = (model.metadata.metadata or {}).get("snapshot", "")
    try:
        return open_snapshot(home.snapshots / snapshot_name(digest))
    except InputError:
        return None


def offerable_by(loaded: Loaded, spec: RecommendSpec) -> Offerable:
    """What the spec's lists of items come to for a registered model. Raises `InputError` where they cannot be used, or
    the model is one of before models took lists.
    """
    offerable = resolved(spec, loaded.model.unwrap_python_model().ids)
    if offerable.lists.keys() - {parameter.name for parameter in loaded.model.metadata.get_params_schema()}:
        raise InputError(
            f"{registered_name(spec.dataset)} version {loaded.version} was registered before models took lists of what "
            "may be offered: delete that version in MLflow and run its job again, which registers it anew"
        )
    return offerable


def recommend_one(
    model: "PyFuncModel",
    history: tuple[str, ...],
    *,
    k: int,
    exclude_seen: bool,
    offerable: Offerable = EVERYTHING,
) -> dict[str, Any]:
    """items, scores and basis for one history of raw ids, and which of these are unknown to the model.

    Raises `InputError` where the model's ids are numbers and one of the history's is not.
    """
    ids = _as_ids(model, list(history))
    asked = {"k": k, "exclude_seen": exclude_seen, **offerable.lists}
    answer = _predict(model, pd.DataFrame({"history": [ids]}), asked)
    known = set(model.unwrap_python_model().ids)
    unknown = [raw for raw, own in zip(history, ids, strict=True) if own not in known]
    return {str(name): value for name, value in answer.iloc[0].to_dict().items()} | {"unknown": unknown}


def recommend_all(
    model: "PyFuncModel",
    snapshot: Snapshot,
    folder: Path,
    *,
    trained_on: Snapshot | None,
    k: int,
    exclude_seen: bool,
    offerable: Offerable = EVERYTHING,
) -> Path:
    """Score every user of the snapshot; a Parquet file in `folder` with user_id, items, scores and basis.

    `trained_on` is the snapshot that the model was trained on: as far as a user's first events are the same as in the
    training part there, the model is told so. Without it everybody is a stranger.

    Items that the model does not know are passed over. The file's name says what was asked for; one of an earlier run
    gives way to the new one. Raises `InputError` where the model knows no item of anybody's.
    """
    among = f"-among-{offerable.name}" if offerable.name else ""
    path = folder / f"top-{k}{'' if exclude_seen else '-with-seen'}{among}.parquet"
    asked = {"k": k, "exclude_seen": exclude_seen, **offerable.lists}
    folder.mkdir(parents=True, exist_ok=True)
    with working_folder(folder) as work:
        pieces = [_scored(model, piece, asked) for piece in _histories(snapshot, trained_on)]
        offered = pd.concat(pieces, ignore_index=True)
        if (offered["basis"] == "popularity").all():
            raise InputError(
                "the model knows no item of this log: is it another than the one that the model learned from, or are "
                "its item ids written otherwise?"
            )
        partial = work / path.name
        offered.to_parquet(partial)
        partial.replace(path)
    return path


def scored_by_popularity(path: Path) -> int:
    """How many users of a file that `recommend_all` wrote are offered what is popular: the model knows none of their
    items.
    """
    return int((pd.read_parquet(path, columns=["basis"])["basis"] == "popularity").sum())


def read_otherwise(asked: LogSpec, snapshot: Snapshot, *, trained_as: LogSpec, trained_on: Snapshot) -> str | None:
    """In a sentence, how the log that a model learned from, `trained_on` as `trained_as` asked for it, was read and
    prepared otherwise than the snapshot that was `asked` for; None where it was not.
    """
    there, here = _reading(trained_as, trained_on), _reading(asked, snapshot)
    told = [f"{name}: {here[name]}, there {there[name]}" for name in there if there[name] != here[name]]
    return f"the log is read otherwise than the one that the model learned from ({'; '.join(told)})" if told else None


def raw_ids(history: Sequence[str], *, integers: bool) -> list[Any]:
    """Raw ids in the type that a model knows them by.

    Raises `InputError` where that is `integers`, and one of the history's is none.
    """
    if not integers:
        return list(history)
    for raw in history:
        if not _is_integer(raw):
            raise InputError(f"the model's item ids are whole numbers of 64 bits, which {raw!r} is not")
    return [int(raw) for raw in history]


def _is_integer(raw: str) -> bool:
    return WHOLE_NUMBER.fullmatch(raw) is not None and -LARGEST - 1 <= int(raw) <= LARGEST


def _reading(asked: LogSpec, snapshot: Snapshot) -> dict[str, str]:
    """What decides on histories, by the option that says it."""
    source, prepare = as_made(asked, snapshot)
    return {
        "times (--time-col)": "yes" if snapshot.manifest.has_times else "none",
        "numbers to order by (--order-col)": "yes" if source.columns.order else "none",
        "--min-rating": "none" if prepare.min_rating is None else f"{prepare.min_rating:g}",
        "--duplicates": prepare.duplicates,
        "--user-core": str(prepare.user_core),
        "--item-core": str(prepare.item_core),
    }


def _histories(snapshot: Snapshot, trained_on: Snapshot | None) -> list[pd.DataFrame]:
    """user_id and history of every user; times where they are known, and `trained` where what was `trained_on` is."""
    with engine() as connection:
        frame = connection.execute(sql.load("recommend/histories", **_files(snapshot))).df()
        if not snapshot.manifest.has_times:
            del frame["times"]
        if trained_on is not None:
            files = _files(snapshot) | {f"trained_on_{name}": path for name, path in _files(trained_on).items()}
            frame["trained"] = connection.execute(sql.load("recommend/trained", **files)).df()["trained"]
    return [frame.iloc[start : start + USERS_AT_A_TIME] for start in range(0, len(frame), USERS_AT_A_TIME)]


def _files(snapshot: Snapshot) -> dict[str, str]:
    return {name: sql.literal(str(getattr(snapshot, name))) for name in ("interactions", "users", "items")}


def _scored(model: "PyFuncModel", users: pd.DataFrame, asked: Mapping[str, Any]) -> pd.DataFrame:
    table = pd.DataFrame({"history": _ids_of_all(model, users["history"])})
    reads = model.metadata.get_input_schema().input_names()
    if "times" in reads and "times" in users:
        table["times"] = [[int(time) for time in times] for times in users["times"]]
    if "trained" in reads and "trained" in users:
        table["trained"] = users["trained"].to_numpy()
    answer = _predict(model, table, asked)
    answer.insert(0, "user_id", users["user_id"].to_numpy())
    return answer


def _predict(model: "PyFuncModel", table: pd.DataFrame, asked: Mapping[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(model.predict(table, params=dict(asked)))


def _as_ids(model: "PyFuncModel", history: list[str]) -> list[Any]:
    return raw_ids(history, integers=_knows_integers(model))


def _ids_of_all(model: "PyFuncModel", histories: Iterable[Sequence[str]]) -> list[list[Any]]:
    """Histories in the type of the model's ids. What can be none of them stands there as one that it does not know: an
    event keeps its place.
    """
    if not _knows_integers(model):
        return [list(history) for history in histories]
    known = set(model.unwrap_python_model().ids)
    unknown = next(number for number in count() if number not in known)
    return [[int(raw) if _is_integer(raw) else unknown for raw in history] for history in histories]


def _knows_integers(model: "PyFuncModel") -> bool:
    return isinstance(model.unwrap_python_model().ids[0], int)
