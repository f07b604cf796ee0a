"""MLflow as the job's memory: one parent run a job, one child a training, adopted again after a crash.

Runs are found by tags, never by name, so that a job started again goes on in the runs it had opened. Everything
that is logged is derived from files of the steps, so logging it twice changes nothing.
"""

import fcntl
import hashlib
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from tasks.errors import InputError
from tasks.home import PROJECT_ROOT, Home
from tasks.mlflow_store import DATABASES, SQLITE, connect, every_run, own_database, tracking_uri
from tasks.sources.addresses import without_secrets

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, LoggedModel, Metric, Run

EXPERIMENT = "robustness"
TRAININGS = "?workflowType=machine_learning"
"""Of an address in MLflow's interface: that it opens for trainings, and not for language models."""

TAG_KEY = "rec_denoiser.key"
TAG_PREFECT = "prefect.flow_run_id"
TAG_PARENT = "mlflow.parentRunId"
TAG_CONTEXT = "mlflow.data.context"
TAG_NOTE = "mlflow.note.content"
"""What MLflow shows as a description, in Markdown."""

SOURCE = {"mlflow.source.name": "rec-denoiser", "mlflow.source.type": "PROJECT"}

NOTE = """\
A job, `rec-denoiser run` or `rec-denoiser study`, is a parent run with a child for each training.

- Find runs by tags and parameters: `tags.study = 'quick' and params.noise_ratio = '0.2'`, or by `tags.method` and
  `tags.dataset`; the tag `study` of a main job is `robustness`.
- Curves are by epoch. `test.…` are figures of the chosen weights, `chosen.validation…` those that chose them;
  `full_unseen` ranks a target among all items that the user had not seen, `sampled100` among 100 of them. `noise.…`
  says how well the labelled noise in what was trained on is told, as `metrics.noise.own_score.auroc`.
- What is recommended, right or wrong, as the first 10 items of each test target's list:
  `test.full_unseen.coverage_at_10` is the share of the catalogue that is in some list, `…novelty_at_10` how few users
  have what is in them, in bits, and `…gini_at_10` how unevenly the lists take items, from 0 to 1.
- The parent of a main job has the figures of the training that it chose, so that jobs can be compared over time;
  `best.…` among its tags says which that is, `registered.…` what became of its model:
  `tags.registered.alias = 'champion'` finds the jobs that made a champion.
- A study's or a search's parent says in its tag `answer` what came of it, and counts `cells.done` and `cells.failed`. A
  study's has the means of its methods on test, as `mean.test.full_unseen.ndcg_at_10.sasrec-bce`, and the tag
  `leading.method`; a search's the best values on validation, as `best.validation.full_unseen.ndcg_at_10.sasrec-bce`,
  beside those of the methods as they come, `first.…`, and as tags which trial was best, `best.…`.
- A run that failed says why in its tag `failure`.
- Each run holds its `spec.json`, `provenance.json`, `ranks.parquet` (a row a target) and `exposures.parquet` (a row an
  item, with the number of lists that it is in), a study's parent its report. The model that it trained is among the
  logged models, with the figures of the chosen weights.
"""
CHOSEN = "chosen."
"""Before the names of validation's figures of the chosen weights, whose own names are those of curves by epoch."""
FINAL = ("test.", "promotion.", CHOSEN, "noise.", "filter.")
"""What names of figures of the chosen weights begin with in MLflow."""

TAG_FAILURE = "failure"
"""Why a run failed, in a line; one that is taken up again has it no more."""

LONGEST_REASON = 300
LONGEST_PART = 150
"""Of a metric's name, of which MLflow takes 250 characters."""

TAG_RERUN_OF = "rec_denoiser.rerun_of"
EPOCHS_TOLD_BY = "time.epoch_seconds"
"""A metric that is in every epoch's record."""

MODEL_TYPE = "next-item recommender"
DIGEST_SHOWN = 36
"""As many characters of a data set's digest as MLflow takes."""

METRICS_IN_A_BATCH = 1000
PARAMETERS_IN_A_BATCH = 100
"""As many as MLflow takes at once."""

SECONDS_BETWEEN_WRITES = 1.0
SHARE_FOR_WRITING = 0.005


@dataclass(frozen=True)
class DatasetNote:
    """A snapshot as MLflow's dataset view shows it."""

    name: str
    digest: str
    source: str
    profile: Mapping[str, Any]
    context: str


class Tracker:
    """MLflow runs of one experiment. Threads may share one, and processes the database: where that is SQLite, one
    writes at a time. (Two that read and then write in one transaction each would make SQLite refuse one of them.)

    Raises `InputError` where the state folder is a copy of another, into which it would write.
    """

    def __init__(self, home: Home, *, experiment: str = EXPERIMENT) -> None:
        self.uri = tracking_uri(home)
        self.client = connect(home)
        self._thread = threading.RLock()
        self._depth = 0
        # MLflow answers in tens of milliseconds, so what this tracker did itself is not asked for.
        self._open: set[str] = set()
        self._without_figures: set[str] = set()
        self._without_model: set[str] = set()
        self._last_steps: dict[tuple[str, str], int] = {}
        local = self.uri.startswith(SQLITE)
        self._lock = Path(self.uri.removeprefix(f"{SQLITE}///")).parent / ".writer" if local else None
        self.code = code_tags()
        self.experiment_id = self._experiment(experiment, home)

    def open_run(self, key: str, *, name: str, parent: str | None = None, tags: Mapping[str, str] | None = None) -> str:
        """The id of the run with this key under this parent, taken up again where it exists, else new.

        A finished run stays as it is: its tags name the code and the flow run that made it.
        """
        found = self._find(key, parent)
        if found is not None and found.info.status == "FINISHED":
            return str(found.info.run_id)
        every_tag = {**self.code, **(tags or {})}
        with self._writing():
            if found is not None:
                run_id: str = found.info.run_id
                self.client.update_run(run_id, status="RUNNING")
                self._open.add(run_id)
                if TAG_FAILURE in found.data.tags:
                    self.client.delete_tag(run_id, TAG_FAILURE)
                self.set_tags(run_id, every_tag)
                return run_id
            identity = {TAG_KEY: key} | ({TAG_PARENT: parent} if parent else {})
            created = self.client.create_run(self.experiment_id, run_name=name, tags=every_tag | identity)
            run_id = str(created.info.run_id)
            self._open.add(run_id)
            self._without_figures.add(run_id)
            self._without_model.add(run_id)
            return run_id

    def is_finished(self, run_id: str) -> bool:
        """Does the run hold all that it is going to hold?"""
        return self._status(run_id) == "FINISHED"

    def close_run(self, run_id: str, status: str, *, failure: str | None = None) -> None:
        """`status` is FINISHED, FAILED or KILLED; `failure` says in a line why it failed."""
        with self._writing():
            if self._status(run_id) != status:
                if failure is not None:
                    self.set_tags(run_id, {TAG_FAILURE: failure})
                self.client.set_terminated(run_id, status=status)
            self._open.discard(run_id)

    def close_open_runs(self, parent: str, status: str, *, failure: str | None = None) -> None:
        """Close the parent and its children where they are still running; what is closed keeps its status. `failure`
        says in a line why they failed.
        """
        children = self._search(f"tags.`{TAG_PARENT}` = '{parent}' and attributes.status = 'RUNNING'")
        for run_id in [*(child.info.run_id for child in children), parent]:
            if self._status(run_id) == "RUNNING":
                self.close_run(run_id, status, failure=failure)

    @contextmanager
    def closing(self, run_id: str) -> Iterator[None]:
        """Leave neither the run nor a child of it open at the end of the block: what is still running then has failed,
        for a reason, where the block has, was killed where the block was stopped, and is finished otherwise.
        """
        try:
            yield
        except Exception as failure:
            self.close_open_runs(run_id, "FAILED", failure=reason(failure))
            raise
        except BaseException:
            self.close_open_runs(run_id, "KILLED")
            raise
        self.close_open_runs(run_id, "FINISHED")

    def run_url(self, run_id: str) -> str:
        """Where the run is shown, once MLflow's user interface is open."""
        server = without_secrets(self.uri) if self.uri.startswith("http") else "http://127.0.0.1:5000"
        return f"{server}/#/experiments/{self.experiment_id}/runs/{run_id}{TRAININGS}"

    def log_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        """Parameters of a run; those that it holds already must be the same."""
        from mlflow.entities import Param

        entries = [Param(name, str(value)) for name, value in params.items()]
        with self._writing():
            for start in range(0, len(entries), PARAMETERS_IN_A_BATCH):
                self.client.log_batch(run_id, params=entries[start : start + PARAMETERS_IN_A_BATCH])

    def log_figures(
        self,
        run_id: str,
        *,
        history: Iterable[Mapping[str, Any]] = (),
        samples: Sequence[Mapping[str, Any]] = (),
        final: Mapping[str, float] | None = None,
        timestamp: int = 0,
        model: "LoggedModel | None" = None,
        dataset: DatasetNote | None = None,
    ) -> None:
        """Figures of a training, in as few batches as hold them. What the run holds already is passed over.

        history: epoch records `{"epoch", "timestamp", "metrics"}`; samples: `{"step", "timestamp", "metrics"}` of what
        it took of the machine (`tasks.watching`), which MLflow shows apart from other metrics; final: figures at step 0
        and at `timestamp` (ms), where the same figures leave one value each; model: the logged model that those of them
        are figures of, too, that are of the chosen weights, on `dataset`.
        """
        curves = {EPOCHS_TOLD_BY: [(record["epoch"], record) for record in history]}
        if samples:
            curves[next(iter(samples[0]["metrics"]))] = [(sample["step"], sample) for sample in samples]
        with self._writing():
            fresh = {name: self._fresh(run_id, records, told_by=name) for name, records in curves.items()}
            groups = [_metrics_of(step, record) for records in fresh.values() for step, record in records]
            groups += [[metric] for metric in self._fresh_final(run_id, final or {}, timestamp, model, dataset)]
            try:
                for batch in _batches(groups):
                    self.client.log_batch(run_id, metrics=batch)
            except Exception:
                self._forget_figures(run_id)
                raise
            for name, records in fresh.items():
                if records:
                    self._last_steps[run_id, name] = max(step for step, _ in records)

    def curves(self, run_id: str, *, warn: Callable[[str], None]) -> "Curves":
        """A writer of a run's epochs as they come. `warn` hears in a sentence that they could not be written."""
        return Curves(self, run_id, warn=warn)

    def chosen_epoch(self, run_id: str) -> int:
        """The epoch whose weights were chosen, 0 where the run does not say."""
        return int(self.client.get_run(run_id).data.metrics.get("training.best_epoch", 0))

    def log_model(
        self, run_id: str, files: Sequence[Path], *, called: str, params: Mapping[str, Any], step: int
    ) -> "LoggedModel":
        """The logged model of a run's training, made of `files` as they lie, unless the run has it already.

        called: how the list of logged models names it; params: as the run's, by which models are compared; step: the
        epoch whose weights were chosen. Where artifacts are kept on the same disk, the files take no second place.
        """
        from mlflow.entities import LoggedModelOutput

        with self._writing():
            model = None if run_id in self._without_model else self._model_of(run_id)
            if model is None:
                model = self.client.create_logged_model(
                    self.experiment_id,
                    name=called.replace(".", "-"),  # MLflow refuses dots
                    source_run_id=run_id,
                    params={name: str(value) for name, value in params.items()},
                    model_type=MODEL_TYPE,
                )
                self._without_model.discard(run_id)
                is_linked = False
            else:
                outputs = self.client.get_run(run_id).outputs
                is_linked = any(held.model_id == model.model_id for held in (outputs.model_outputs if outputs else ()))
            if not is_linked:
                for file in files:
                    self._keep_with(model, file)
                model = self.client.finalize_logged_model(model.model_id, "READY")
                self.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=step)])
            return model

    def link_model(self, run_id: str, model_id: str) -> None:
        """Give a logged model the final figures of its run, on the dataset that it was ranked with, so that MLflow's
        Models page shows and compares them.
        """
        from mlflow.entities import Metric

        with self._writing():
            run = self.client.get_run(run_id)
            ranked_with = {
                tag.value: entry.dataset
                for entry in (run.inputs.dataset_inputs if run.inputs else ())
                for tag in entry.tags
                if tag.key == TAG_CONTEXT
            }
            dataset = ranked_with.get("evaluation") or ranked_with.get("training")
            held = {metric.key for metric in self.client.get_logged_model(model_id).metrics or ()}
            final = {name: run.data.metrics[name] for name in run.data.metrics.keys() - held if name.startswith(FINAL)}
            figures = [
                Metric(
                    name,
                    value,
                    # At another time it would be a second figure of the run's.
                    self.client.get_metric_history(run_id, name)[-1].timestamp,
                    0,
                    model_id=model_id,
                    dataset_name=dataset.name if dataset else None,
                    dataset_digest=dataset.digest if dataset else None,
                    run_id=run_id,
                )
                for name, value in final.items()
            ]
            if figures:
                self.client.log_batch(run_id, metrics=figures)

    def log_datasets(self, run_id: str, *datasets: DatasetNote) -> None:
        """Attach snapshots under our own digests: MLflow's would not see changes past the first rows."""
        with self._writing():
            self.client.log_inputs(run_id, datasets=[_dataset_input(dataset) for dataset in datasets])

    def log_files(self, run_id: str, files: Mapping[str, Path]) -> None:
        """Upload files, each into the artifact folder it is keyed by ("" for the root, else "folder/")."""
        for folder, path in files.items():
            self.client.log_artifact(run_id, str(path), artifact_path=folder.rstrip("/") or None)

    def log_folder(self, run_id: str, folder: Path, *, under: str) -> None:
        """Upload all that lies in `folder` into the artifact folder `under`."""
        self.client.log_artifacts(run_id, str(folder), artifact_path=under)

    def replace_folder(self, run_id: str, folder: Path, *, names: Collection[str]) -> None:
        """Upload all that lies in `folder` to the artifacts' root, over what is there. `names` are those of the files
        and folders that such a folder may hold: what the run has under them and `folder` has not goes.
        """
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        self.log_folder(run_id, folder, under="")
        held = get_artifact_repository(str(self.client.get_run(run_id).info.artifact_uri))
        for found in self.client.list_artifacts(run_id):
            if found.path in names:
                inside = self.client.list_artifacts(run_id, found.path) if (folder / found.path).is_dir() else [found]
                for artifact in inside:
                    if not (folder / artifact.path).exists():
                        held.delete_artifacts(artifact.path)

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Tags of a run, over those of the same names that it has."""
        from mlflow.entities import RunTag

        with self._writing():
            self.client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])

    def log_text(self, run_id: str, texts: Mapping[str, str]) -> None:
        """Small texts as artifacts by path."""
        for path, text in texts.items():
            self.client.log_text(run_id, text, path)

    def _model_of(self, run_id: str) -> "LoggedModel | None":
        found = self.client.search_logged_models(
            [self.experiment_id], filter_string=f"source_run_id = '{run_id}'", max_results=1
        )
        return next(iter(found), None)

    def _keep_with(self, model: "LoggedModel", file: Path) -> None:
        """Put a file beside the others of a model: as a second name of it where it may have one."""
        location = urlsplit(model.artifact_location)
        if location.scheme == "file":
            folder = Path(unquote(location.path))
            folder.mkdir(parents=True, exist_ok=True)
            with suppress(OSError):
                (folder / file.name).unlink(missing_ok=True)
                os.link(file, folder / file.name)
                return
        self.client.log_model_artifact(model.model_id, str(file))

    def _find(self, key: str, parent: str | None) -> "Run | None":
        clauses = [f"tags.`{TAG_KEY}` = '{key}'"]
        if parent is not None:
            clauses.append(f"tags.`{TAG_PARENT}` = '{parent}'")
        runs = self._search(" and ".join(clauses))
        return runs[0] if runs else None

    def _search(self, query: str) -> list["Run"]:
        return list(every_run(self.client, [self.experiment_id], query))

    def _fresh(
        self, run_id: str, records: Sequence[tuple[int, Mapping[str, Any]]], *, told_by: str
    ) -> list[tuple[int, Mapping[str, Any]]]:
        """Records by step, from the one after the last that holds the metric `told_by`."""
        logged = self._last_step(run_id, told_by) if records else 0
        return [(step, record) for step, record in records if step > logged]

    def _fresh_final(
        self,
        run_id: str,
        final: Mapping[str, float],
        timestamp: int,
        model: "LoggedModel | None",
        dataset: DatasetNote | None,
    ) -> "list[Metric]":
        from mlflow.entities import Metric

        of_model: dict[str, Any] = {} if model is None else {"model_id": model.model_id, "run_id": run_id}
        if model is not None and dataset is not None:
            of_model |= {"dataset_name": dataset.name, "dataset_digest": dataset.digest[:DIGEST_SHOWN]}

        if not final:
            return []
        held = {} if run_id in self._without_figures else self.client.get_run(run_id).data.metrics
        self._without_figures.discard(run_id)
        return [
            Metric(name, value, timestamp, 0, **(of_model if name.startswith(FINAL) else {}))
            for name, value in final.items()
            if held.get(name) != value
        ]

    def _forget_figures(self, run_id: str) -> None:
        """What this tracker has written is not known any more after a failure: some of it may have arrived."""
        self._without_figures.discard(run_id)
        self._last_steps = {held: step for held, step in self._last_steps.items() if held[0] != run_id}

    def _last_step(self, run_id: str, name: str) -> int:
        """The last step at which the run holds the metric, 0 where it holds none."""
        if (run_id, name) not in self._last_steps:
            held = [] if run_id in self._without_figures else self.client.get_metric_history(run_id, name)
            self._last_steps[run_id, name] = max((metric.step for metric in held), default=0)
        return self._last_steps[run_id, name]

    def _status(self, run_id: str) -> str:
        return "RUNNING" if run_id in self._open else str(self.client.get_run(run_id).info.status)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Keep other threads from writing until the end of the block, and other processes too where need be."""
        with self._thread:
            if self._lock is None or self._depth:
                yield
                return
            with self._lock.open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                self._depth += 1
                try:
                    yield
                finally:
                    self._depth -= 1

    def _experiment(self, name: str, home: Home) -> str:
        with self._writing():
            found = self.client.get_experiment_by_name(name)
            if found is None:
                # A server, or a folder, has a place of its own; for a database MLflow would take the working folder.
                alone = urlsplit(self.uri).scheme.partition("+")[0] in DATABASES
                location = (home.mlflow / "artifacts").as_uri() if alone else None
                return str(self.client.create_experiment(name, artifact_location=location, tags={TAG_NOTE: NOTE}))
        if found.lifecycle_stage != "active":
            command = f"MLFLOW_TRACKING_URI={without_secrets(self.uri)} mlflow"
            raise InputError(
                f"somebody has deleted the MLflow experiment {name}, in which jobs are recorded: "
                f"`{command} experiments restore --experiment-id {found.experiment_id}` brings it back, and "
                f"`{command} gc` makes room for a new one"
            )
        if self.uri == own_database(home):
            _refuse_elsewhere(found.artifact_location, home)
        return str(found.experiment_id)


class Curves:
    """Hears a training's epochs and writes them to its run in groups, so that a curve grows as it trains; the longer a
    write takes, the longer until the next one, so that writing takes a two-hundredth of the time at most.

    No training ends because MLflow does not answer: what cannot be written waits for the next time, and is in the
    training's result, with which its run is recorded.
    """

    def __init__(self, tracker: Tracker, run_id: str, *, warn: Callable[[str], None]) -> None:
        self._tracker = tracker
        self._run_id = run_id
        self._warn = warn
        self._has_warned = False
        self._waiting: list[Mapping[str, Any]] = []
        self._next = time.monotonic() + SECONDS_BETWEEN_WRITES

    def __enter__(self) -> "Curves":
        return self

    def __call__(self, record: Mapping[str, Any]) -> None:
        self._waiting.append(record)
        if time.monotonic() > self._next:
            self._write()

    def __exit__(self, *failure: object) -> None:
        self._write()

    def _write(self) -> None:
        from mlflow.exceptions import MlflowException

        started = time.monotonic()
        try:
            self._tracker.log_figures(self._run_id, history=self._waiting)
            self._waiting = []
        except MlflowException as error:
            if not self._has_warned:
                self._has_warned = True
                self._warn(
                    f"MLflow does not take the curves of the run {self._run_id[:8]}, which follow when the training is "
                    f"done: {reason(error)}"
                )
        ended = time.monotonic()
        self._next = ended + max(SECONDS_BETWEEN_WRITES, (ended - started) / SHARE_FOR_WRITING)


def _dataset_input(dataset: DatasetNote) -> "DatasetInput":
    from mlflow.entities import Dataset, DatasetInput, InputTag

    entry = Dataset(
        name=dataset.name,
        digest=dataset.digest[:DIGEST_SHOWN],
        source_type="local",
        source=json.dumps({"uri": dataset.source}),
        profile=json.dumps(dict(dataset.profile)),
    )
    return DatasetInput(entry, [InputTag(TAG_CONTEXT, dataset.context), InputTag("sha256", dataset.digest)])


def _metrics_of(step: int, record: Mapping[str, Any]) -> "list[Metric]":
    """A record `{"timestamp", "metrics"}` as MLflow has it."""
    from mlflow.entities import Metric

    when = int(record["timestamp"])
    return [Metric(name, float(value), when, int(step)) for name, value in record["metrics"].items()]


def _batches(groups: "Iterable[list[Metric]]") -> "Iterator[list[Metric]]":
    """Batches of as many groups as MLflow takes at once. A group goes into one batch, so that a killed process leaves
    it there whole or not at all.
    """
    batch: list[Metric] = []
    for group in groups:
        if batch and len(batch) + len(group) > METRICS_IN_A_BATCH:
            yield batch
            batch = []
        batch = batch + group
    if batch:
        yield batch


def _refuse_elsewhere(location: str, home: Home) -> None:
    """Raise `InputError` where the database keeps its files in another state folder: MLflow remembers the full path."""
    address = urlsplit(location)
    kept = Path(unquote(address.path)).resolve()
    if address.scheme == "file" and not kept.is_relative_to(home.mlflow.resolve()):
        raise InputError(
            f"the runs in {home.mlflow} keep their files in {kept}: where the state folder was moved, bring it back; "
            f"where it is a copy, take {home.mlflow} out of it, and a new history begins there"
        )


def reason(failure: Exception) -> str:
    """A failure in a line: its message, of a longer one the last line, which is where a traceback says what it was. A
    database's comes before the statement that it refused.
    """
    told = str(failure).partition("\n[SQL: ")[0]
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    return lines[-1][:LONGEST_REASON] if lines else type(failure).__name__


def part_of_a_name(told: str) -> str:
    """What a metric's name in MLflow may hold of a text."""
    return re.sub(r"[^\w.\- :]", "", told)[:LONGEST_PART]


def job_key(parts: Iterable[str]) -> str:
    """One key for a job from the keys of its parts."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def code_tags() -> dict[str, str]:
    """What code ran: the commit (with `+changes` where the tree differs from it) and the lock file's digest."""
    tags = dict(SOURCE)
    commit = _git("rev-parse", "HEAD")
    if commit:
        tags["mlflow.source.git.commit"] = commit
        tags["rec_denoiser.code"] = commit + ("+changes" if _git("status", "--porcelain") else "")
    lock = PROJECT_ROOT / "requirements.lock"
    if lock.exists():
        tags["rec_denoiser.lock_sha256"] = hashlib.sha256(lock.read_bytes()).hexdigest()
    return tags


def _git(*arguments: str) -> str | None:
    """A git command's output on the project, or None where it is no checkout or there is no git."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
