"""Runs as MLflow holds them, read back by what a person types of their ids."""

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from tasks.errors import InputError
from tasks.evaluate import RANKS_FILE
from tasks.frozen import Frozen
from tasks.home import Home
from tasks.mlflow_store import connect, every_experiment, every_run, unreadable
from tasks.provenance import Provenance
from tasks.specs import CellSpec
from tasks.track import CHOSEN, TAG_PARENT
from tasks.wording import counted

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities import Run

FINISHED = "FINISHED"
SHOWN = 8
"""How many characters of an id a person is shown: enough to type."""
LISTED = 20
Read = TypeVar("Read", bound=Frozen)


@dataclass(frozen=True)
class HeldRun:
    """A finished training and its ranking, all that its run says of them."""

    run_id: str
    name: str
    spec: CellSpec
    provenance: Provenance
    metrics: Mapping[str, float]
    tags: Mapping[str, str]

    @property
    def chosen(self) -> dict[str, float]:
        """The figures of the chosen weights by their own names, as `tasks.evaluate.Evaluated.metrics` has them: in the
        run, validation's are those of the last epoch.
        """
        chosen = {name: value for name, value in self.metrics.items() if name.startswith(CHOSEN)}
        return {**self.metrics, **{name.removeprefix(CHOSEN): value for name, value in chosen.items()}}

    @property
    def is_ranked(self) -> bool:
        """Was its model ranked? A search's trial has no figures but those that settings are chosen by."""
        return any(name.startswith("test.") for name in self.metrics)

    def ranks(self, *, home: Home) -> "pd.DataFrame":
        """The rows of its `ranks.parquet`. Raises `InputError` where the run does not hold it any more."""
        import pandas as pd
        from mlflow.exceptions import MlflowException

        with tempfile.TemporaryDirectory(prefix="rec-denoiser-") as folder:
            try:
                path = connect(home).download_artifacts(self.run_id, RANKS_FILE, folder)
                return pd.read_parquet(path)
            except (MlflowException, OSError):
                raise InputError(f"the run {self.run_id[:SHOWN]} does not hold its {RANKS_FILE} any more") from None


def read_run(text: str, *, home: Home) -> HeldRun:
    """The run whose id is `text` or the only one whose id begins with it.

    Raises `InputError` where there is none, or several, where it is a job and no single training (its trainings are
    named then), where it did not finish, and where an older or newer version of this project wrote it.
    """
    from mlflow.exceptions import MlflowException

    try:
        client = connect(home)
        run = _find(text, client)
        children = _search(f"tags.`{TAG_PARENT}` = '{run.info.run_id}'", client)
    except MlflowException as error:
        raise unreadable(error, home) from None
    shown = run.info.run_id[:SHOWN]
    if children:
        trainings = counted(len(children), "training")
        raise InputError(f"{shown} is a job of {trainings}: name one of them: {_listed(children)}")
    if run.info.status != FINISHED:
        raise InputError(
            f"{shown} ({run.info.run_name}) did not finish, its status is {run.info.status}: run its job again first"
        )
    return HeldRun(
        run_id=str(run.info.run_id),
        name=str(run.info.run_name),
        spec=_artifact(run, "spec.json", CellSpec),
        provenance=_artifact(run, "provenance.json", Provenance),
        metrics=dict(run.data.metrics),
        tags=dict(run.data.tags),
    )


def provenance_of(run_id: str, *, home: Home) -> Provenance | None:
    """What a run was made by, finished or not; None where it does not say, or not as this version does."""
    from mlflow.exceptions import MlflowException

    try:
        return _artifact(connect(home).get_run(run_id), "provenance.json", Provenance)
    except (InputError, MlflowException):
        return None


def check_ranked(held: HeldRun) -> None:
    """Raises `InputError` where the run was never ranked."""
    if not held.is_ranked:
        raise InputError(
            f"{held.run_id[:SHOWN]} ({held.name}) is a trial of a search and was never ranked: give the search again, "
            "or take a run of the study that it wrote"
        )


def _find(text: str, client: "MlflowClient") -> "Run":
    if not re.fullmatch(r"[0-9a-f]{1,32}", text):
        raise InputError(f"{text!r} is not the beginning of a run's id, which is made of the digits 0-9 and a-f")
    found = _search(f"attributes.run_id LIKE '{text}%'", client)
    if not found:
        raise InputError(f"there is no run {text!r}: `rec-denoiser ui mlflow` shows those that there are")
    if len(found) > 1:
        raise InputError(f"{text!r} is the beginning of several runs' ids: {_listed(found)}")
    return found[0]


def _search(query: str, client: "MlflowClient") -> "list[Run]":
    return list(every_run(client, every_experiment(client), query))


def _listed(runs: "list[Run]") -> str:
    named = ", ".join(f"{run.info.run_id[:SHOWN]} ({run.info.run_name})" for run in runs[:LISTED])
    return named + (f" and {len(runs) - LISTED} more" if len(runs) > LISTED else "")


def _artifact(run: "Run", name: str, kind: type[Read]) -> Read:
    from mlflow.artifacts import load_text
    from mlflow.exceptions import MlflowException

    shown = run.info.run_id[:SHOWN]
    try:
        return kind.model_validate_json(load_text(f"{run.info.artifact_uri}/{name}"))
    except (MlflowException, OSError):
        raise InputError(
            f"{shown} ({run.info.run_name}) holds no {name}: it is no training, or one of an older version"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "its whole"
        raise InputError(f"{shown}: its {name} was written by another version: {field}: {first['msg']}") from None
