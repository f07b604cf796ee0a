"""A run made again from what MLflow holds: the same bits on the same CPU, and told apart where anything differs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.config import TrainingConfig
from tasks.corrupt import corrupt
from tasks.data_specs import Columns, FilterSpec, PrepareSpec, ShoppersSpec, SourceSpec
from tasks.detect import Detected, detect, detection_folder
from tasks.errors import InputError
from tasks.evaluate import Evaluated, evaluate, evaluation_folder
from tasks.execution import Execution
from tasks.filter import filtered
from tasks.gates import gate_layers, gate_metrics
from tasks.home import Home
from tasks.ingest import ingest
from tasks.job import Heading, decision, record, told_noise, tracked_job
from tasks.kept import kept_cell, kept_snapshot, kept_steps
from tasks.leases import lease
from tasks.machine import resolve
from tasks.plan import Cell, Data, plan
from tasks.provenance import Provenance, provenance
from tasks.rerun import (
    Again,
    came_out,
    check_snapshot,
    check_source,
    execution_like,
    is_expected_identical,
    source_of,
    time_limit,
    warnings,
)
from tasks.runs import HeldRun, check_ranked, read_run
from tasks.shoppers import generate
from tasks.snapshots import Snapshot
from tasks.sources.logs import log_of
from tasks.specs import METHODS, CellSpec, ExecutionSpec, InjectedNoise, named_method
from tasks.track import Tracker, job_key
from tasks.train import Trained, train, training_folder

FIRST = "sasrec-bce"
VARIANTS: dict[str, dict[str, Any]] = {
    "gbce-shared": {"loss": "gbce-shared", "negatives": 8},
    **{robust: {"robust": robust} for robust in ("reweighted", "generalised", "symmetric", "bootstrapped")},
    **{
        estimator: {"gate": "positional", "estimator": estimator}
        for estimator in ("ar", "reinforce", "straight-through")
    },
    "attention-power": {"noise_model": "co-occurrence", "attention_power": 1.0},
    "filtered": {},
}
"""What no named method has, as settings over the first one's."""

LEFT_OUT = {"filtered": FilterSpec(by="co-occurrence", below=0.5)}
EVERY = [FIRST, *(pytest.param(name, marks=pytest.mark.slow) for name in (*METHODS, *VARIANTS) if name != FIRST)]


@dataclass(frozen=True)
class Place:
    """A log in the working folder, its snapshots, and the state folder that they are in."""

    folder: Path
    home: Home
    data: Data


@pytest.fixture(scope="module")
def place(mlflow_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("rerun")
    path = folder / "shop.parquet"
    generate(ShoppersSpec(users=60, items=50), path)
    clean = ingest(log_of(source(path), path), PrepareSpec(), home=mlflow_home)
    return Place(folder, mlflow_home, Data(clean, corrupt(clean, NOISE.corruption, home=mlflow_home)))


NOISE = InjectedNoise(ratio=0.2, seed=3)


def source(path: Path) -> SourceSpec:
    return SourceSpec(path=str(path), columns=Columns(time="time", noise="noise"))


def spec_of(method: str, **more: Any) -> CellSpec:
    # In so small a log hardly a pair is seen twice, so that a noise model would leave nothing of it.
    known = FIRST if method in VARIANTS else method
    model = named_method(known, dim=8, blocks=1, heads=1, length=10, drop_below=0.05).model
    return CellSpec(
        dataset="shop",
        source=source(Path("shop.parquet")),
        noise=NOISE,
        filter=LEFT_OUT.get(method, FilterSpec()),
        method=method,
        model=replace(model, **VARIANTS.get(method, {})),
        training=TrainingConfig(epochs=2, batch_size=32),
        **more,
    )


def carry_out(cell: Cell, execution: Execution, home: Home) -> tuple[Trained, Evaluated, Detected]:
    """Train, rank and judge in the state folder `home`."""
    trained = train(
        cell.snapshot, cell.clean, cell.model, cell.training, seed=cell.seed, evaluation_seed=cell.evaluation_seed,
        execution=execution, time_limit_minutes=5, made_by={}, folder=training_folder(cell.train_key, home=home),
        home=home,
    )  # fmt: skip
    ranked = evaluate(
        trained, cell.histories, cell.clean, trained_on=cell.snapshot, evaluation_seed=cell.evaluation_seed,
        execution=execution, folder=evaluation_folder(cell.evaluate_key, home=home), home=home,
    )  # fmt: skip
    assert cell.detect_key is not None
    folder = detection_folder(cell.detect_key, home=home)
    return trained, ranked, detect(trained, cell.snapshot, execution=execution, folder=folder, home=home)


def tracked(place: Place, spec: CellSpec, made: Callable[[Cell, Execution], tuple[Any, ...]]) -> str:
    """The run of a job with this one cell."""
    execution = resolve(ExecutionSpec(device="cpu"))
    left = filtered(place.data.trained_on, spec.filter, home=place.home)
    cells = plan([spec], lambda _: Data(place.data.clean, left), execution)
    heading = Heading(study="test", name="test", note="a test", spec="{}", identity=(spec.model_dump_json(),))
    with (
        lease(home=place.home) as held,
        tracked_job(cells, heading, execution=execution, flow_run="flow", held=held, home=place.home) as job,
    ):
        record(job, 0, *made(cells[0], execution))
    return job.children[0]


@pytest.mark.parametrize("method", EVERY)
def test_a_run_made_again_on_the_same_cpu_is_the_same_to_the_bit(
    place: Place, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.folder)
    run_id = tracked(place, spec_of(method), lambda cell, execution: carry_out(cell, execution, place.home))
    held = read_run(run_id[:12], home=place.home)
    execution = execution_like(held.provenance)
    clean, noisy = (kept_snapshot(of, home=place.home) for of in (held.provenance.clean, held.provenance.trained_on))
    assert clean is not None
    assert noisy is not None
    assert (noisy.digest == place.data.trained_on.digest) == (method not in LEFT_OUT)
    if method in LEFT_OUT:  # it comes out again of the same log
        noisy = filtered(place.data.trained_on, held.spec.filter, home=Home(tmp_path / "again"))
        assert noisy.digest == held.provenance.trained_on.digest
    (cell,) = plan([held.spec], lambda _: Data(clean, noisy), execution)
    now = provenance(cell, execution, code=held.provenance.code)
    assert warnings(held.provenance, now) == ()
    assert is_expected_identical(held.provenance, now)

    trained, ranked, detected = carry_out(cell, execution, Home(tmp_path / "again"))
    metrics = ranked.metrics() | told_noise(cell, detected) | gate_metrics(gate_layers(trained))
    found = came_out(held, now, trained.result(), metrics, held.ranks(home=place.home), pd.read_parquet(ranked.ranks))
    assert found.identical, found
    assert all(figure.identical for figure in found.figures)
    named = {figure.name for figure in found.figures}
    assert {"test.full_unseen.ndcg_at_10", "chosen.validation.sampled100.hit_at_10"} <= named
    assert ("train.loss" in named) != cell.model.is_count_based
    assert {"noise.own_score.auroc", "noise.popularity.misclick.average_precision"} <= named
    assert set(held.metrics) - named == {"training.seconds", "time.epoch_seconds", *machine_metrics(held)}
    assert not any("second" in name for name in named)
    assert found.ranks_differ == 0


def machine_metrics(held: HeldRun) -> set[str]:
    return {name for name in held.metrics if name.startswith("system/")}


@pytest.fixture
def held(place: Place, monkeypatch: pytest.MonkeyPatch) -> HeldRun:
    """A run whose training was not one: its ranks are made up."""
    monkeypatch.chdir(place.folder)
    return read_run(tracked(place, spec_of(FIRST, seed=9), builders(place.folder)), home=place.home)


def builders(folder: Path) -> Callable[[Cell, Execution], tuple[Trained, Evaluated]]:
    def make(cell: Cell, execution: Execution) -> tuple[Trained, Evaluated]:
        import json

        history = [{"epoch": 1, "timestamp": 1, "metrics": {"train.loss": 0.5, "time.epoch_seconds": 1.0}}]
        result = {"best_epoch": 1, "best_value": 0.1, "epochs": 1, "seconds": 1.0, "parameters": 3,
                  "peak_memory_bytes": 1000, "made_by": {}, "history": history}  # fmt: skip
        (folder / "result.json").write_text(json.dumps(result))
        ranks().to_parquet(folder / "ranks.parquet")
        exposures().to_parquet(folder / "exposures.parquet")
        return Trained(folder), Evaluated(folder)

    return make


def ranks(**changed: Any) -> pd.DataFrame:
    frame = pd.DataFrame(
        {"target": range(4), "split": ["validation", "promotion", "test", "test"], "user": [0, 1, 0, 1], "item": 3}
    )
    for name in ("full_unseen", "full_all", "sampled100"):
        frame[f"rank_{name}"] = np.array([0.0, 1.0, 5.0, 30.0], dtype=np.float32)
    return frame.assign(**changed)


def exposures() -> pd.DataFrame:
    return pd.DataFrame({"lists": [2, 1], "self_information": [1.0, 2.0]})


def came(held: HeldRun, home: Home, tmp_path: Path, *, now: Provenance | None = None, **changed: Any) -> Again:
    trained = Trained(tmp_path)
    after = ranks(**changed)
    after.to_parquet(tmp_path / "ranks.parquet")
    exposures().to_parquet(tmp_path / "exposures.parquet")
    result = {"best_epoch": 1, "epochs": 1, "seconds": 9.0, "parameters": 3, "peak_memory_bytes": 5,
              "history": [{"epoch": 1, "metrics": {"train.loss": 0.5, "time.epoch_seconds": 2.0}}]}  # fmt: skip
    metrics = Evaluated(trained.folder).metrics()
    return came_out(held, now or held.provenance, result, metrics, held.ranks(home=home), after)


def test_the_smallest_difference_is_told(held: HeldRun, place: Place, tmp_path: Path) -> None:
    assert came(held, place.home, tmp_path).identical

    found = came(held, place.home, tmp_path, rank_full_unseen=np.array([0, 1, 6, 30], dtype=np.float32))
    assert not found.identical
    assert found.ranks_differ == 1
    differ = {figure.name for figure in found.figures if not figure.identical}
    assert "test.full_unseen.ndcg_at_10" in differ
    assert not any(name.startswith(("promotion.", "test.sampled100")) for name in differ)

    # Ranks may differ where no metric does.
    found = came(held, place.home, tmp_path, rank_full_all=np.array([0, 1, 5, 31], dtype=np.float32))
    assert all(figure.identical for figure in found.figures if "_at_10" in figure.name)
    assert (found.ranks_differ, found.identical) == (1, False)

    assert came(held, place.home, tmp_path, item=4).ranks_differ is None

    more = replace(held, metrics={**held.metrics, "gate.0.keep": 0.5})
    (gone,) = (figure for figure in came(more, place.home, tmp_path).figures if figure.differs)
    assert (gone.name, gone.before, gone.after, gone.unknown) == ("gate.0.keep", 0.5, None, None)


OFFERS = ("coverage_at_10", "novelty_at_10", "gini_at_10")


def without_offers(held: HeldRun) -> HeldRun:
    """The run as a version left it that did not look at what is recommended."""
    kept = {name: value for name, value in held.metrics.items() if not name.endswith(OFFERS)}
    assert len(held.metrics) - len(kept) == len(OFFERS)
    return replace(held, metrics=kept)


def test_a_figure_that_one_version_does_not_know_is_no_difference(held: HeldRun, place: Place, tmp_path: Path) -> None:
    newer = held.provenance.model_copy(update={"evaluate_code": "f" * 64})
    found = came(without_offers(held), place.home, tmp_path, now=newer)
    told = {figure.name: figure.unknown for figure in found.figures if not figure.identical}
    assert told == {f"test.full_unseen.{name}": "then" for name in OFFERS}
    assert found.identical
    assert [figure["unknown"] for figure in found.to_dict()["figures"]].count("then") == len(OFFERS)

    back = came(replace(held, metrics={**held.metrics, "test.given_up": 0.5}), place.home, tmp_path, now=newer)
    assert {figure.name: figure.unknown for figure in back.figures if not figure.identical} == {"test.given_up": "now"}
    assert back.identical

    # What both know is compared all the same, and one version knows in both what it knows.
    other = np.array([0, 1, 6, 30], dtype=np.float32)
    assert not came(without_offers(held), place.home, tmp_path, now=newer, rank_full_unseen=other).identical
    missing = came(without_offers(held), place.home, tmp_path)
    assert {figure.name for figure in missing.figures if figure.differs} == {f"test.full_unseen.{n}" for n in OFFERS}
    assert not missing.identical


def test_what_a_run_holds_is_enough_to_make_its_data_again(held: HeldRun, place: Place, tmp_path: Path) -> None:
    log_path = place.folder / "shop.parquet"
    found = source_of(held)
    assert found.path == str(log_path), "relative to where the run was started"
    assert source_of(replace(held, spec=spec_of(FIRST).model_copy(update={"source": SourceSpec()}))).path is None
    log = log_of(found, log_path)
    check_source(log, held)
    elsewhere = Home(tmp_path / "elsewhere")
    assert kept_snapshot(held.provenance.clean, home=elsewhere) is None
    clean = ingest(log, held.spec.prepare, home=elsewhere)
    check_snapshot(clean, held.provenance.clean, what="the log")
    check_snapshot(corrupt(clean, held.spec.noise.corruption, home=elsewhere), held.provenance.trained_on, what="it")
    with pytest.raises(InputError, match="the code that prepares logs has changed"):
        check_snapshot(clean, held.provenance.trained_on, what="the log")


def test_a_source_that_has_changed_is_refused_in_a_sentence(held: HeldRun, tmp_path: Path) -> None:
    other = tmp_path / "shop.parquet"
    generate(ShoppersSpec(users=60, items=50, seed=8), other)
    with pytest.raises(InputError, match=r"is gone, and .*shop\.parquet is not what it was made of any more"):
        check_source(log_of(source(other), other), held)


def test_a_damaged_snapshot_is_not_taken(held: HeldRun, place: Place, tmp_path: Path) -> None:
    import shutil

    home = Home(tmp_path / "damaged")
    copy: Snapshot = place.data.clean
    shutil.copytree(copy.path, home.snapshots / copy.name)
    (home.snapshots / copy.name / "items.parquet").write_bytes(b"no")
    with pytest.raises(InputError, match=r"items\.parquet is damaged"):
        kept_snapshot(held.provenance.clean, home=home)


def test_each_difference_of_code_packages_and_machine_is_said(held: HeldRun) -> None:
    now = held.provenance
    environment = now.environment.model_copy(
        update={"packages": now.environment.packages | {"numpy": "0.1", "new-one": "3"}}
    )
    other = now.model_copy(
        update={
            "environment": environment,
            "execution": now.execution | {"threads": 4},
            "train_code": "f" * 64,
            "train_key": "0" * 64,
            "code": now.code | {"rec_denoiser.code": "0123456789abcdef+changes"},
        }
    )
    said = "\n".join(warnings(now, other))
    assert "code: what a training runs has changed" in said
    assert "now 0123456789ab+changes" in said
    assert f"package: numpy: {now.environment.packages['numpy']}, now 0.1" in said
    assert "package: new-one: none, now 3" in said
    assert "machine: threads: 1, now 4" in said
    assert not is_expected_identical(now, other)
    committed = now.model_copy(update={"code": now.code | {"mlflow.source.git.commit": "0" * 40}})
    assert warnings(now, committed)[-1] == "code: what a training and a ranking run is the same all the same"
    assert is_expected_identical(now, committed)


def test_the_execution_record_is_kept_and_a_long_training_gets_its_time(held: HeldRun) -> None:
    made_on = held.provenance.model_copy(update={"execution": held.provenance.execution | {"threads": 3}})
    assert (execution_like(made_on).threads, execution_like(made_on).device) == (3, "cpu")
    for precision, here in (("bf16", "bf16"), ("tf32", "float32")):  # the latter is a GPU's
        other = held.provenance.execution | {"compiled": True, "precision": precision}
        again = execution_like(held.provenance.model_copy(update={"execution": other}))
        assert (again.compiled, again.precision) == (True, here)
    assert time_limit(held) == 240
    assert time_limit(replace(held, metrics={"training.seconds": 10 * 3600.0})) == 1800


def test_a_run_is_judged_by_its_chosen_weights_and_not_by_its_last_epoch(held: HeldRun) -> None:
    name = "validation.full_unseen.ndcg_at_10"
    past_its_best = replace(held, metrics={name: 0.15, f"chosen.{name}": 0.2, "test.full_unseen.ndcg_at_10": 0.1})
    assert decision(past_its_best.chosen) == ("validation", 0.2)
    assert past_its_best.chosen["test.full_unseen.ndcg_at_10"] == 0.1


def test_what_is_kept_of_runs_is_found(held: HeldRun, place: Place) -> None:
    folder = training_folder(held.provenance.train_key, home=place.home)
    folder.mkdir(parents=True)
    assert kept_steps([held.run_id, "0" * 32], home=place.home) == (folder,)
    folder.rmdir()


def test_a_run_is_found_by_the_beginning_of_its_id(held: HeldRun, place: Place) -> None:
    assert read_run(held.run_id[:16], home=place.home).run_id == held.run_id
    with pytest.raises(InputError, match="is not the beginning of a run's id"):
        read_run("x1", home=place.home)
    with pytest.raises(InputError, match="there is no run '0000000000000000'"):
        read_run("0" * 16, home=place.home)
    parent = Tracker(place.home).client.get_run(held.run_id).data.tags["mlflow.parentRunId"]
    with pytest.raises(InputError, match=rf"is a job of 1 training: name one of them: {held.run_id[:8]} \(sasrec-bce"):
        read_run(parent, home=place.home)


def test_runs_that_cannot_be_made_again_are_refused_in_a_sentence(held: HeldRun, place: Place) -> None:
    tracker = Tracker(place.home)
    failed, foreign = (tracker.open_run(job_key((name, held.run_id)), name=name) for name in ("failed", "foreign"))
    tracker.close_run(failed, "FAILED")
    tracker.close_run(foreign, "FINISHED")
    with pytest.raises(InputError, match=r"\(failed\) did not finish, its status is FAILED"):
        read_run(failed, home=place.home)
    with pytest.raises(InputError, match=r"\(foreign\) holds no spec\.json"):
        read_run(foreign, home=place.home)
    tracker.log_text(foreign, {"spec.json": '{"seed": 1}'})
    with pytest.raises(InputError, match=r"spec\.json was written by another version: method"):
        read_run(foreign, home=place.home)


def test_what_is_not_kept_of_a_run_is_said(held: HeldRun, place: Place) -> None:
    with pytest.raises(InputError, match=f"the weights of the run {held.run_id[:8]} are not in"):
        kept_cell(held, home=place.home)
    folder = training_folder(held.provenance.train_key, home=place.home)
    folder.mkdir(parents=True)
    for path in Trained(folder).files:
        path.touch()
    cell = kept_cell(held, home=place.home)
    assert (cell.snapshot.digest, cell.clean.digest) == (place.data.trained_on.digest, place.data.clean.digest)
    assert cell.evaluate_key == held.provenance.evaluate_key
    gone = held.provenance.histories.model_copy(update={"digest": "0" * 64})
    without = replace(held, provenance=held.provenance.model_copy(update={"histories": gone}))
    with pytest.raises(InputError, match=r"the snapshot 0{16} that the run \w+ stands on is not in"):
        kept_cell(without, home=place.home)


def test_a_trial_of_a_search_has_nothing_that_was_ranked(held: HeldRun) -> None:
    check_ranked(held)
    with pytest.raises(InputError, match="is a trial of a search and was never ranked"):
        check_ranked(replace(held, metrics={"validation.full_unseen.ndcg_at_10": 0.1}))
