"""What a dry run says: counts, what is cached, and time and memory from measured rates."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.config import ModelConfig
from tasks.corrupt import corrupt
from tasks.execution import Execution
from tasks.home import Home
from tasks.ingest import ingest
from tasks.plan import Data, cell_of, corrupt_key, ingest_key
from tasks.receipts import write_receipt
from tasks.snapshots import Snapshot
from tasks.sources.source import obtain_log
from tasks.study.costs import JACOBIAN, PROCESS_BYTES, STARTING_SECONDS, Rates, rates
from tasks.study.dryrun import as_json, describe, foreseen
from tasks.study.expand import Study, read_study

EXECUTION = Execution("cpu", "some processor", 1, "float32", "3.11.0", {"torch": "2.13.0"})
TEXT = """\
name: tiny
question: Does it?
base:
  source: {{path: {log}, columns: {{time: ts, noise: noise}}}}
  prepare: {{promotion: 0}}
  model: {{length: 20, dim: 16}}
  training: {{epochs: 10}}
axes:
  method: [sasrec-bce, sasrec-softmax]
  seed: [1, 2]
reference: sasrec-bce
"""


@pytest.fixture
def study(tiny_log: Path, tmp_path: Path) -> Study:
    path = tmp_path / "tiny.yaml"
    path.write_text(TEXT.format(log=tiny_log), encoding="utf-8")
    return read_study(path)


def ingested(study: Study, home: Home) -> Snapshot:
    """The study's snapshot, with the receipt of the step that makes it."""
    spec = study.cells[0].spec
    log = obtain_log(spec.source, home=home)
    snapshot = ingest(log, spec.prepare, home=home)
    write_receipt(ingest_key(log, spec.prepare), [snapshot.path], home=home)
    return snapshot


def finished(home: Home, *, seconds: float, epochs: int, positions: int, peak: float) -> None:
    """A finished training of a plain recommender in the state folder."""
    folder = home.steps / "train" / "some"
    folder.mkdir(parents=True)
    held = {"epochs": epochs, "max_epochs": 10, "seconds": seconds, "positions": positions, "users": 30,
            "device": "cpu", "threads": 1, "batch_size": 128, "peak_memory_bytes": peak}  # fmt: skip
    (folder / "result.json").write_text(json.dumps(held), encoding="utf-8")
    model = {"config": ModelConfig(length=20, dim=16).to_dict(), "item_count": 40}
    (folder / "model.json").write_text(json.dumps(model), encoding="utf-8")


def test_before_the_data_is_read_nothing_else_is_known(study: Study, home: Home) -> None:
    cells = foreseen(study, EXECUTION, home=home)
    assert len(cells) == 4
    assert all(cell.trained is None and cell.cost is None for cell in cells)
    told = "\n".join(describe(study, cells, EXECUTION))
    assert "Cells:   4; cached: 0 trained, 0 ranked; of 4 not known before the data is read" in told
    assert not home.snapshots.exists(), "a dry run makes nothing"


def test_what_is_done_is_told_from_what_is_not(study: Study, home: Home) -> None:
    snapshot = ingested(study, home)
    spec = study.cells[2].spec
    done = cell_of(spec, Data(snapshot, snapshot), EXECUTION)
    (home.steps / "some").mkdir(parents=True)
    write_receipt(done.train_key, [home.steps / "some"], home=home)
    cells = foreseen(study, EXECUTION, home=home)
    assert [cell.trained for cell in cells] == [False, False, True, False]
    assert [cell.ranked for cell in cells] == [False] * 4
    told = list(describe(study, cells, EXECUTION))
    assert "Cells:   4; cached: 1 trained, 0 ranked" in told
    assert any(line.startswith("Rates:   0 of 3 trainings by those measured") for line in told)
    assert json.loads(json.dumps(as_json(cells)))[2]["trained"] is True


def test_time_and_memory_follow_what_was_measured(study: Study, home: Home) -> None:
    snapshot = ingested(study, home)
    planned = cell_of(study.cells[0].spec, Data(snapshot, snapshot), EXECUTION)
    positions = 1 + sum(min(events - 3, 20) for events in range(3, 31))  # the user with two events is not ranked
    finished(home, seconds=40.0, epochs=5, positions=2 * positions, peak=PROCESS_BYTES + 3e8)
    cost = rates(home).cost(planned, EXECUTION)
    # Half of ten epochs, of half the positions that took 8 s an epoch.
    assert cost.seconds == pytest.approx(STARTING_SECONDS + 5 * 4.0)
    assert cost.measured
    assert PROCESS_BYTES < cost.memory_bytes < PROCESS_BYTES + 3e8
    cells = foreseen(study, EXECUTION, home=home)
    assert [cell.cost is not None and cell.cost.measured for cell in cells] == [True, True, False, False]


def test_the_jacobians_term_is_a_kind_of_its_own(study: Study, home: Home) -> None:
    snapshot = ingested(study, home)
    spec = study.cells[0].spec
    plain = cell_of(spec, Data(snapshot, snapshot), EXECUTION)
    finished(home, seconds=40.0, epochs=10, positions=1000, peak=PROCESS_BYTES)
    found = rates(home)

    def steps_of(**settings: Any) -> float:
        other = spec.model_copy(update={"model": replace(spec.model, **settings)})
        cost = found.cost(cell_of(other, Data(snapshot, snapshot), EXECUTION), EXECUTION)
        assert not cost.measured
        return cost.seconds - STARTING_SECONDS

    every, fourth = steps_of(gamma=0.01), steps_of(gamma=0.01, jacobian_every=4)
    without = Rates({}, {}, {}).cost(plain, EXECUTION).seconds - STARTING_SECONDS
    assert every == pytest.approx(without * (1 + JACOBIAN))
    assert fourth == pytest.approx(without * (1 + JACOBIAN / 4))


def test_what_is_not_corrupted_yet_is_to_do_at_the_cost_of_the_clean(study: Study, home: Home, tmp_path: Path) -> None:
    ingested(study, home)
    noisy = read_study(tmp_path / "tiny.yaml", ["axes.noise.ratio=[0, 0.1, 0.2]", "axes.seed=[1]"])
    cells = foreseen(noisy, EXECUTION, home=home)
    assert all(cell.to_do for cell in cells)
    assert len({cell.cost for cell in cells}) == 2, "one cost a method"


def test_cells_that_share_a_training_count_its_time_once(study: Study, home: Home, tmp_path: Path) -> None:
    snapshot = ingested(study, home)
    path = tmp_path / "tiny.yaml"
    shared = read_study(path, ["axes.noise.ratio=[0, 0.2]", "base.noise.where=histories", "axes.seed=[1]"])
    corruption = shared.cells[-1].spec.noise.corruption
    write_receipt(corrupt_key(snapshot, corruption), [corrupt(snapshot, corruption, home=home).path], home=home)
    cells = foreseen(shared, EXECUTION, home=home)
    assert [(cell.cell.spec.noise.ratio, cell.shares) for cell in cells] == [
        (0.0, False), (0.2, True), (0.0, False), (0.2, True),
    ]  # fmt: skip
    assert sum(cell.to_do for cell in cells) == 2
