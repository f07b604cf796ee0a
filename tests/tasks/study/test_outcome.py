"""A study's result on the disk: whole, and in the place of an earlier one."""

import json
from pathlib import Path

import pandas as pd
import pytest

from tasks.errors import InputError
from tasks.home import Home
from tasks.specs import StudyRequest
from tasks.study.dryrun import describe, foreseen
from tasks.study.expand import Study, read_study
from tasks.study.outcome import Ended, Published, publish_result, read_result, result_of, study_folder, unreported
from tasks.study.result import CellResult, StudyResult
from tests.tasks.builders import EXECUTION


@pytest.fixture
def study(tmp_path: Path) -> Study:
    path = tmp_path / "tiny.yaml"
    path.write_text("name: tiny\nquestion: Does it?\naxes: {method: [sasrec-bce], seed: [1, 2]}\n", encoding="utf-8")
    return read_study(path)


def failed(study: Study, home: Home, *, seconds: float) -> StudyResult:
    """A study whose log could not be used."""
    failures = dict.fromkeys(range(2), InputError("log.csv does not exist"))
    return result_of(
        study, Ended({}, {}, {}, failures), request=StudyRequest(file="tiny.yaml"), docs={},
        code={}, execution=EXECUTION, started="2026-01-01T00:00:00+00:00",
        seconds=seconds, home=home,
    )  # fmt: skip


def no_ranks(cell: CellResult) -> pd.DataFrame:
    raise AssertionError(f"{cell.label} has no ranks")


def test_a_cell_that_never_began_is_told_with_its_reason(study: Study, home: Home) -> None:
    result = failed(study, home, seconds=1.0)
    assert [(cell.status, cell.failure, cell.seed) for cell in result.cells] == [
        ("failed", "log.csv does not exist", 1), ("failed", "log.csv does not exist", 2),
    ]  # fmt: skip
    assert result.axes == {"method": ("sasrec-bce",), "seed": (1, 2)}
    assert result.reference == "sasrec-bce"


def test_a_cell_keeps_what_is_left_out_of_its_log(tmp_path: Path, home: Home) -> None:
    path = tmp_path / "left-out.yaml"
    path.write_text(
        """\
name: left-out
question: Does it?
base: {noise: {ratio: 0.2}}
axes:
  method: [sasrec-bce, {name: filtered, loss: bce, filter: {by: co-occurrence, below: 0.4}},
           {name: oracle, loss: bce, noise: {taken_out: true}}]
""",
        encoding="utf-8",
    )
    study = read_study(path)
    failures = dict.fromkeys(range(3), InputError("log.csv does not exist"))
    result = result_of(
        study, Ended({}, {}, {}, failures), request=StudyRequest(file="tiny.yaml"), docs={},
        code={}, execution=EXECUTION, started="2026-01-01T00:00:00+00:00",
        seconds=1.0, home=home,
    )  # fmt: skip
    held = {"by": "co-occurrence", "below": 0.4, "reach": 8, "folds": 1, "seed": 0}
    assert [(cell.filter, cell.taken_out) for cell in result.cells] == [({}, False), (held, False), ({}, True)]
    assert StudyResult.from_json(result.to_json()) == result
    before = json.loads(result.to_json())
    for cell in before["cells"]:
        del cell["filter"], cell["taken_out"]
    read = StudyResult.from_json(json.dumps(before))
    assert [(cell.filter, cell.taken_out) for cell in read.cells] == [({}, False)] * 3


def test_a_result_takes_the_place_of_an_earlier_one(study: Study, home: Home) -> None:
    assert read_result("tiny", home=home) is None
    publish_result(failed(study, home, seconds=1.0), no_ranks, home=home)
    later = failed(study, home, seconds=2.0)
    published = publish_result(later, no_ranks, home=home)
    folder = published.folder
    assert published.failure is None
    assert folder == study_folder("tiny", home=home)
    assert read_result("tiny", home=home) == later
    assert {path.name for path in folder.iterdir()} >= {"study.json", "report.html"}
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]


def test_a_result_of_other_settings_is_kept_beside_and_named_as_a_dry_run_says(
    study: Study, tmp_path: Path, home: Home
) -> None:
    def published(*overrides: str) -> Published:
        asked = read_study(tmp_path / "tiny.yaml", overrides)
        foretold = list(describe(asked, foreseen(asked, EXECUTION, home=home), EXECUTION, home=home))
        found = publish_result(failed(asked, home, seconds=1.0), no_ranks, home=home)
        kept = [] if found.earlier is None else [f"Note: once this has run, {found.earlier}"]
        assert [line for line in foretold if line.startswith("Note: ")] == kept
        return found

    first = failed(study, home, seconds=1.0)
    assert published().earlier is None
    assert published("question=Does it really?", "execution.side_by_side=1").earlier is None, (
        "the settings are the same"
    )
    first = read_result("tiny", home=home)
    folders = [study_folder("tiny", home=home)]
    for number, seeds in enumerate(("[3, 4]", "[1, 2]")):
        earlier = published(f"axes.seed={seeds}", "base.training.epochs=2").earlier
        assert earlier is not None
        changed = "base.training.epochs, axes.seed" if number == 0 else "axes.seed"
        assert f"of other settings ({changed}), is kept in {earlier.folder}" in str(earlier)
        folders.append(earlier.folder)
    assert set(folders[0].parent.iterdir()) == set(folders)
    kept = folders[1]
    assert kept.name == "tiny@2026-01-01T00-00-00"
    assert StudyResult.from_json((kept / "study.json").read_text(encoding="utf-8")) == first
    assert (kept / "report.html").exists()
    assert folders[2].name == "tiny@2026-01-01T00-00-00-2", "two that began in the same second"


def test_a_result_that_cannot_be_read_keeps_no_other_from_its_place(study: Study, home: Home) -> None:
    folder = study_folder("tiny", home=home)
    folder.mkdir(parents=True)
    for damaged in ("{", "{}", "[]"):
        (folder / "study.json").write_text(damaged)
        assert publish_result(failed(study, home, seconds=1.0), no_ranks, home=home).earlier is None


def test_a_result_is_kept_where_its_report_cannot_be_made(
    study: Study, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_result(failed(study, home, seconds=1.0), no_ranks, home=home)
    later = failed(study, home, seconds=2.0)

    def fail(*arguments: object) -> None:
        raise ZeroDivisionError("no user is left")

    monkeypatch.setattr("tasks.study.outcome.write_report", fail)
    published = publish_result(later, no_ranks, home=home)
    assert read_result("tiny", home=home) == published.result == later
    assert [path.name for path in published.folder.iterdir()] == ["study.json"], "an earlier page would not be its own"
    assert published.failure is not None
    told = str(unreported("tiny", published.failure, kept=published.folder / "study.json"))
    assert told.startswith("the report of tiny could not be made (no user is left); every training is recorded")
    assert str(published.folder / "study.json") in told
