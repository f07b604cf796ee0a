"""The snapshots that cells stand on: which are made, each once, and that a dry run finds the same."""

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from flows import data as making
from flows.data import Snapshots, checked_snapshot
from models.config import ModelConfig
from tasks.corrupt import corrupt
from tasks.data_specs import Columns, CorruptSpec, FilterSpec, PrepareSpec, SourceSpec
from tasks.errors import InputError
from tasks.filter import filtered
from tasks.home import Home
from tasks.ingest import ingest
from tasks.plan import Cell, cell_of, ingest_key
from tasks.receipts import write_receipt
from tasks.side_by_side import Steps
from tasks.snapshots import Snapshot, open_snapshot
from tasks.sources.source import obtain_log
from tasks.specs import CellSpec, InjectedNoise
from tasks.study import dryrun
from tasks.study.expand import read_study
from tests.tasks.builders import EXECUTION
from tests.tasks.corners import corners_csv

HALF = FilterSpec(by="co-occurrence", below=0.5)
WHERE = ("both", "training", "histories")
STUDY = """\
name: filtered
question: Does it help, wherever the noise is?
base:
  source: {{path: {log}, columns: {{time: ts, noise: noise}}}}
axes:
  noise.where: [both, training, histories]
  noise.ratio: [0, 0.25]
  method: [sasrec-bce, {{name: filtered, loss: bce, filter: {{by: co-occurrence, below: 0.5}}}}]
reference: sasrec-bce
"""


class PlainSteps:
    """The data's steps as plain functions. `done`: what was made of which snapshot."""

    def __init__(self, home: Home) -> None:
        self.reports: list[dict[str, Any]] = []
        self.done: list[tuple[str, str]] = []
        self._home = home

    def run(self, step: Any, snapshot: Snapshot, *specs: Any, key: str, label: str) -> Any:
        if step.name == "validate":
            return {"docs": str(snapshot.path), "subject": "", "expectations": [], "warnings": []}
        make: Callable[..., Snapshot] = {"corrupt": corrupt, "filter": filtered}[step.name]
        made = make(snapshot, *specs, home=self._home)
        write_receipt(key, [made.path], home=self._home)
        self.done.append((step.name, snapshot.name))
        return made.name


@pytest.fixture
def home(tmp_path: Path, in_process: None, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A state folder of the test's own, without a server to tell anything to."""
    monkeypatch.setenv("REC_DENOISER_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(making, "create_markdown_artifact", lambda *_, **__: None)
    monkeypatch.setattr(making, "checked_snapshot", checked)
    return Home(tmp_path / "home")


def checked(source: Any, prepare: Any, *, dataset: str, steps: Any, home: Home) -> Snapshot:
    log = obtain_log(source, home=home)
    snapshot = ingest(log, prepare, home=home)
    write_receipt(ingest_key(log, prepare), [snapshot.path], home=home)
    steps.done.append(("ingest", dataset))
    making.check_snapshot(snapshot, steps, label=dataset)
    return snapshot


@pytest.fixture
def specs(tmp_path: Path) -> dict[tuple[str, float, str], CellSpec]:
    """By method, ratio and place of the noise the cells of the study."""
    (tmp_path / "log.csv").write_text(corners_csv(), encoding="utf-8")
    path = tmp_path / "filtered.yaml"
    path.write_text(STUDY.format(log=tmp_path / "log.csv"), encoding="utf-8")
    cells = [cell.spec for cell in read_study(path).cells]
    return {(spec.method, spec.noise.ratio, spec.noise.where): spec for spec in cells}


def test_a_snapshot_of_equal_content_says_what_was_asked_for_this_time(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report names the file that was read, and a rerun looks for that one."""
    monkeypatch.setattr(making, "get_run_logger", lambda: SimpleNamespace(info=print, warning=print))
    steps = SimpleNamespace(reports=[])

    def run(step: Any, log: Any, prepare: Any = None, **_: Any) -> Any:
        if step.name == "ingest":
            return ingest(log, prepare, home=home).name
        return {"docs": str(tmp_path / "docs"), "subject": "", "expectations": [], "warnings": []}

    steps.run = run
    rows = corners_csv()
    (tmp_path / "log.csv").write_text(rows, encoding="utf-8")
    (tmp_path / "quoted.csv").write_text(re.sub(r"^(\w+)", r'"\1"', rows, flags=re.MULTILINE), encoding="utf-8")

    def asked(name: str, prepare: PrepareSpec) -> Snapshot:
        source = SourceSpec(path=str(tmp_path / name), columns=Columns(time="ts", noise="noise"))
        return checked_snapshot(source, prepare, dataset="log", steps=cast(Steps, steps), home=home)

    first, second = asked("log.csv", PrepareSpec()), asked("quoted.csv", PrepareSpec(user_core=1))
    assert second.path == first.path
    assert [snapshot.manifest.sources[0].name for snapshot in (first, second)] == ["log.csv", "quoted.csv"]
    assert second.manifest.sources[0].sha256 != first.manifest.sources[0].sha256
    assert [snapshot.manifest.spec["prepare"]["user_core"] for snapshot in (first, second)] == [0, 1]
    assert open_snapshot(second.path) == first, "what is kept stays as it was"


def test_a_log_that_nobody_can_be_ranked_on_is_refused_before_any_noise(
    home: Home, specs: dict[tuple[str, float, str], CellSpec], tmp_path: Path
) -> None:
    (tmp_path / "log.csv").write_text("user_id,item_id,ts,noise\nu,1,1,\nu,2,2,\nv,2,3,\n", encoding="utf-8")
    steps = PlainSteps(home)
    snapshots, known = Snapshots(cast(Steps, steps), home), dryrun.Snapshots(home)
    for found in (snapshots, known):
        with pytest.raises(InputError, match=r"^log\.csv: no user has the 3 interactions .* longest history has 2"):
            found.of(specs["filtered", 0.25, "both"])
    assert [name for name, _ in steps.done] == ["ingest"]


def at(spec: CellSpec, where: str) -> CellSpec:
    noise = InjectedNoise.model_validate(spec.noise.model_dump() | {"where": where})
    return spec.model_copy(update={"noise": noise})


def test_a_filter_leaves_out_of_what_is_trained_on_and_of_what_is_ranked_with_wherever_the_noise_is(
    home: Home, specs: dict[tuple[str, float, str], CellSpec]
) -> None:
    steps = PlainSteps(home)
    snapshots, known = Snapshots(cast(Steps, steps), home), dryrun.Snapshots(home)
    first = snapshots.of(specs["filtered", 0.25, "both"])
    assert [name for name, _ in steps.done] == ["ingest", "corrupt", "filter"], "no other is needed"
    clean, noisy = first.clean, corrupt(first.clean, CorruptSpec(ratio=0.25), home=home)
    clean_left, noisy_left = (filtered(snapshot, HALF, home=home) for snapshot in (clean, noisy))
    assert known.of(specs["filtered", 0.25, "both"]) == (clean, noisy_left, noisy_left)
    assert known.of(specs["filtered", 0.25, "histories"]) == (clean, None, noisy_left)

    def cell(spec: CellSpec) -> Cell:
        data = snapshots.of(spec)
        assert known.of(spec) == (data.clean, data.trained_on, data.histories)
        return cell_of(spec, data, EXECUTION)

    expected = {
        ("filtered", "both"): (noisy_left, noisy_left),
        ("filtered", "training"): (noisy_left, clean_left),
        ("filtered", "histories"): (clean_left, noisy_left),
        ("sasrec-bce", "both"): (noisy, noisy),
        ("sasrec-bce", "training"): (noisy, clean),
        ("sasrec-bce", "histories"): (clean, noisy),
    }
    for (method, where), found in expected.items():
        spoilt = cell(specs[method, 0.25, where])
        assert (spoilt.snapshot, spoilt.histories, spoilt.clean) == (*found, clean)
    for method, snapshot in (("filtered", clean_left), ("sasrec-bce", clean)):
        (spec,) = (spec for (name, ratio, _), spec in specs.items() if (name, ratio) == (method, 0))
        quiet = [cell(at(spec, where)) for where in WHERE]
        assert all((each.snapshot, each.histories, each.clean) == (snapshot, snapshot, clean) for each in quiet)
        assert len({(each.train_key, each.evaluate_key) for each in quiet}) == 1
    filters = [step for step in steps.done if step[0] == "filter"]
    assert filters == [("filter", noisy.name), ("filter", clean.name)], "each once"
    assert snapshots.docs == {of.digest: str(of.path) for of in (clean, noisy, noisy_left, clean_left)}


def test_what_lies_at_addresses_that_differ_in_their_queries_is_not_taken_for_one_log(
    home: Home, specs: dict[tuple[str, float, str], CellSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str | None] = []

    def made(source: SourceSpec, prepare: Any, *, steps: Any, **_: Any) -> Any:
        read.append(source.path)
        steps.reports.append({"docs": ""})
        ranked = SimpleNamespace(training=1, targets_validation=1, targets_test=1)
        return SimpleNamespace(digest=source.path, counts=ranked)

    monkeypatch.setattr(making, "checked_snapshot", made)
    snapshots = Snapshots(cast(Steps, PlainSteps(home)), home)
    of = specs["sasrec-bce", 0, "both"]
    addresses = [f"https://host/log.csv?year={year}" for year in (2023, 2024)]
    for address in addresses * 2:
        there = of.model_copy(update={"source": SourceSpec(path=address)})
        assert snapshots.of(there).clean.digest == address
    assert read == addresses, "each once"


def test_what_cannot_be_made_is_tried_once_and_fails_every_cell_that_needs_it(
    home: Home, specs: dict[tuple[str, float, str], CellSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def broken(snapshot: Snapshot, *_: Any, **__: Any) -> Snapshot:
        tried.append(snapshot.name)
        raise ValueError("no such filter")

    monkeypatch.setattr(making, "filtered_snapshot", lambda of, spec, *, steps: of if spec.by == "none" else broken(of))
    snapshots = Snapshots(cast(Steps, PlainSteps(home)), home)
    for where in WHERE:
        with pytest.raises(ValueError, match="no such filter"):
            snapshots.of(specs["filtered", 0.25, where])
    assert len(tried) == 2, "the noisy and the clean log"
    assert snapshots.of(specs["sasrec-bce", 0.25, "both"]).trained_on.manifest.has_injected_noise


def test_a_method_that_reads_times_is_refused_on_a_log_without_before_anything_is_trained(
    home: Home, specs: dict[tuple[str, float, str], CellSpec]
) -> None:
    """Others go on; with times it is made."""
    spec = specs["sasrec-bce", 0, "both"]
    tisasrec = spec.model_copy(update={"method": "tisasrec", "model": ModelConfig(backbone="tisasrec")})
    assert Snapshots(cast(Steps, PlainSteps(home)), home).of(tisasrec).clean.manifest.has_times
    untimed = SourceSpec(path=spec.source.path)
    snapshots = Snapshots(cast(Steps, PlainSteps(home)), home)
    assert not snapshots.of(spec.model_copy(update={"source": untimed})).clean.manifest.has_times
    with pytest.raises(InputError, match="the method tisasrec reads the times of events, which the log does not have"):
        snapshots.of(tisasrec.model_copy(update={"source": untimed}))
