"""What a dry run says: counts, what is cached, and time and memory from measured rates."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from models.config import ModelConfig
from models.description import DESCRIPTION_FILE, Description
from tasks.corrupt import corrupt
from tasks.data_specs import CorruptSpec, SourceSpec
from tasks.errors import InputError
from tasks.filter import filter_key
from tasks.home import PROJECT_ROOT, Home
from tasks.ingest import ingest
from tasks.plan import Data, cell_of, corrupt_key, ingest_key
from tasks.receipts import write_receipt
from tasks.shoppers import generate
from tasks.snapshots import Snapshot
from tasks.sources.source import obtain_log
from tasks.specs import CellSpec, InjectedNoise, named_method
from tasks.study.costs import (
    COUNTED,
    JACOBIAN,
    PROCESS_BYTES,
    STARTING_SECONDS,
    Cost,
    Rates,
    Sizes,
    asking,
    kind_of,
    rates,
    sizes_of,
    slower,
    work,
)
from tasks.study.dryrun import as_json, describe, foreseen
from tasks.study.expand import Study, read_study
from tests.tasks.builders import EXECUTION

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
    described = Description(ModelConfig(length=20, dim=16), item_count=40, user_count=0)
    (folder / DESCRIPTION_FILE).write_text(described.to_json(), encoding="utf-8")


def test_before_the_data_is_read_nothing_else_is_known(study: Study, home: Home) -> None:
    cells = foreseen(study, EXECUTION, home=home)
    assert len(cells) == 4
    assert all(cell.trained is None and cell.cost is None for cell in cells)
    told = "\n".join(describe(study, cells, EXECUTION, home=home))
    assert "Cells:   4; cached: 0 trained, 0 ranked; of 4 not known before the data is read" in told
    assert not home.snapshots.exists(), "a dry run makes nothing"


def test_a_log_that_is_not_there_leaves_its_cells_out_as_the_study_does(
    study: Study, home: Home, tiny_log: Path, tmp_path: Path
) -> None:
    both = tmp_path / "both.yaml"
    datasets = f"  dataset: [{{name: here, source.path: {tiny_log}}}, {{name: gone, source.path: gone.csv}}]\n"
    text = TEXT.format(log=tiny_log).replace(f"path: {tiny_log}, ", "").replace("  method:", f"{datasets}  method:")
    both.write_text(text, encoding="utf-8")
    cells = foreseen(read_study(both), EXECUTION, home=home)
    assert [cell.failure is None for cell in cells] == [True] * 4 + [False] * 4
    said = "\n".join(describe(read_study(both), cells, EXECUTION, home=home))
    assert said.count("Left out: gone.csv does not exist") == 1
    assert "Cells:   4; cached: 0 trained" in said
    neither = read_study(both, [f"axes.dataset=[{{name: gone, source.path: {tmp_path / 'gone.csv'}}}]"])
    with pytest.raises(InputError, match=r"gone\.csv does not exist"):
        foreseen(neither, EXECUTION, home=home)


def test_a_method_that_reads_times_is_left_out_on_a_log_without_as_the_study_does(
    home: Home, tiny_log: Path, tmp_path: Path
) -> None:
    path = tmp_path / "untimed.yaml"
    text = TEXT.format(log=tiny_log).replace(", columns: {time: ts, noise: noise}", "")
    path.write_text(text.replace("sasrec-softmax", "tisasrec"), encoding="utf-8")
    untimed = read_study(path)
    ingested(untimed, home)
    cells = foreseen(untimed, EXECUTION, home=home)
    assert [(cell.cell.spec.method, cell.failure is None) for cell in cells] == [
        *[("sasrec-bce", True)] * 2, *[("tisasrec", False)] * 2,
    ]  # fmt: skip
    said = "\n".join(describe(untimed, cells, EXECUTION, home=home))
    assert said.count("Left out: the method tisasrec reads the times of events, which the log does not have") == 1


def test_what_is_done_is_told_from_what_is_not(study: Study, home: Home) -> None:
    snapshot = ingested(study, home)
    spec = study.cells[2].spec
    done = cell_of(spec, Data(snapshot, snapshot), EXECUTION)
    (home.steps / "some").mkdir(parents=True)
    write_receipt(done.train_key, [home.steps / "some"], home=home)
    cells = foreseen(study, EXECUTION, home=home)
    assert [cell.trained for cell in cells] == [False, False, True, False]
    assert [cell.ranked for cell in cells] == [False] * 4
    told = list(describe(study, cells, EXECUTION, home=home))
    assert "Cells:   4; cached: 1 trained, 0 ranked" in told
    assert any(line.startswith("Rates:   0 of 3 trainings by those measured") for line in told)
    assert json.loads(json.dumps(as_json(cells)))[2]["trained"] is True
    for cell in study.cells:
        key = cell_of(cell.spec, Data(snapshot, snapshot), EXECUTION).train_key
        write_receipt(key, [home.steps / "some"], home=home)
    assert list(describe(study, foreseen(study, EXECUTION, home=home), EXECUTION, home=home))[-2:] == [
        "Cells:   4; cached: 4 trained, 0 ranked",
        "Time:    nothing is left to train",
    ]


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


@pytest.mark.parametrize(
    ("settings", "times"),
    [
        ({"robust": "co-teaching"}, 2.0),
        ({"contrast": 0.1}, 2.7),
        ({"backbone": "tisasrec"}, 1.86),
        ({"gate": "positional"}, 1.4),
        ({"gate": "positional", "estimator": "hard-concrete"}, 1.24),
    ],
)
def test_what_makes_a_step_longer_is_foreseen_and_not_mixed_up_with_the_plain(
    study: Study, home: Home, settings: dict[str, Any], times: float
) -> None:
    snapshot = ingested(study, home)
    spec = study.cells[0].spec
    finished(home, seconds=40.0, epochs=10, positions=1000, peak=PROCESS_BYTES)
    other = spec.model_copy(update={"model": replace(spec.model, **settings)})
    cost = rates(home).cost(cell_of(other, Data(snapshot, snapshot), EXECUTION), EXECUTION)
    plain = Rates({}, {}, {}).cost(cell_of(spec, Data(snapshot, snapshot), EXECUTION), EXECUTION)
    assert not cost.measured
    assert (cost.seconds - STARTING_SECONDS) / (plain.seconds - STARTING_SECONDS) == pytest.approx(times)


def test_how_a_training_runs_is_part_of_its_kind_and_what_comes_before_the_first_epoch_of_its_cost(
    study: Study, home: Home
) -> None:
    snapshot = ingested(study, home)
    spec = study.cells[0].spec
    finished(home, seconds=40.0, epochs=10, positions=1000, peak=PROCESS_BYTES)
    for changes in ({"threads": 2}, {"precision": "bf16"}, {"compiled": True}):
        other = replace(EXECUTION, **changes)
        assert not rates(home).cost(cell_of(spec, Data(snapshot, snapshot), other), other).measured
    own = spec.model_copy(update={"model": replace(spec.model, noise_model="own-score")})
    without, twice = (
        Rates({}, {}, {}).cost(cell_of(each, Data(snapshot, snapshot), EXECUTION), EXECUTION).seconds
        for each in (spec, own)
    )
    assert twice > without + 1, "its noise model trains a recommender of its own first"


@pytest.mark.parametrize(("ratio", "where"), [(0, "both"), (0, "histories"), (0.2, "histories")])
def test_what_is_filtered_is_not_trained_by_a_training_on_all_of_it(
    study: Study, home: Home, tmp_path: Path, ratio: float, where: str
) -> None:
    snapshot = ingested(study, home)
    path = tmp_path / "tiny.yaml"
    path.write_text(path.read_text().replace("axes:", f"  noise: {{where: {where}}}\naxes:"), encoding="utf-8")
    sets = ["axes.seed=[1]", f"axes.noise.ratio=[{ratio}]"]
    methods = "axes.method=[sasrec-bce, {name: filtered, loss: bce, filter: {by: co-occurrence}}]"
    asked = read_study(path, [*sets, methods])
    plain, left_out = (cell.spec for cell in asked.cells)
    folder = home.steps / "some"
    folder.mkdir(parents=True)

    def told() -> list[tuple[bool | None, bool | None, bool]]:
        return [(cell.trained, cell.ranked, cell.shares) for cell in foreseen(asked, EXECUTION, home=home)]

    write_receipt(cell_of(plain, Data(snapshot, snapshot), EXECUTION).train_key, [folder], home=home)
    assert told() == [(True, False, False), (False, False, False)]
    left = corrupt(snapshot, CorruptSpec(kind="delete", ratio=0.1), home=home)  # instead of what a filter leaves
    write_receipt(filter_key(snapshot, left_out.filter), [left.path], home=home)
    assert told()[1] == (False, False, False)
    write_receipt(cell_of(left_out, Data(snapshot, left), EXECUTION).train_key, [folder], home=home)
    assert told()[1] == (True, False, False)


RESULTS = PROJECT_ROOT / "studies" / "results"
CONTEXTUAL = {"gate": "contextual", "estimator": "hard-concrete", "beta": 0.0}
STEPS: dict[str, dict[str, Any]] = {
    "arm-per-token": {"gate": "positional"},
    **{
        name: {"gate": "positional", "estimator": name}
        for name in ("arm", "ar", "reinforce", "straight-through", "hard-concrete")
    },
    "contextual gate": CONTEXTUAL,
    "contextual gate, arm-per-token": CONTEXTUAL | {"estimator": "arm-per-token"},
    "arm-per-token, passes stacked": {"gate": "positional", "passes": "stacked"},
    "jacobian alone": {"gamma": 1e-5},
    "jacobian alone, every 5th step": {"gamma": 1e-5, "jacobian_every": 5},
    "arm + jacobian (published)": {"gate": "positional", "estimator": "arm", "gamma": 1e-3},
    "fixed random mask": {"gate": "fixed-random"},
    "head drop": {"gate": "head-drop"},
    "top-k": {"gate": "top-k"},
    "sparse transformer": {"gate": "sparse-transformer"},
    "α-entmax": {"gate": "alpha-entmax"},
    "tisasrec, no gate": {"backbone": "tisasrec"},
}


@pytest.mark.parametrize(
    ("file", "ratios", "items", "settings"),
    [
        ("denoising-ml-100k", "step_time_over_backbone", 1682, {"backbone": {}, **STEPS}),
        (
            "losses-ml-1m",
            "step_time_over_bce",
            3416,
            {"bce": {}, "softmax": {"loss": "softmax"}}
            | {loss: {"loss": loss, "negatives": 256} for loss in ("sampled-softmax", "gbce", "gbce-shared")},
        ),
    ],
)
def test_what_comes_with_the_project_is_what_was_measured(
    file: str, ratios: str, items: int, settings: dict[str, dict[str, Any]]
) -> None:
    measured = json.loads((RESULTS / f"{file}.json").read_text(encoding="utf-8"))[ratios]

    def expected(**changes: Any) -> float:
        model = ModelConfig(**changes)
        return slower(kind_of(model, device="cpu", threads=1, compiled=False, precision="float32")) * work(model, items)

    told = {name: expected(**changes) / expected() for name, changes in settings.items()}
    assert told == pytest.approx({name: measured[name] for name in told}, rel=0.2)


@pytest.mark.parametrize("log", ["ml-100k", "ml-1m", "games", "shoppers"])
@pytest.mark.parametrize("method", ["v-sknn", "v-sknn-window"])
def test_what_neighbours_take_to_rank_and_to_judge_is_what_was_measured(log: str, method: str) -> None:
    held = json.loads((RESULTS / f"judging-{log}.json").read_text(encoding="utf-8"))
    sizes, measured = Sizes(**{name: held[name] for name in Sizes._fields}), held["methods"][method]
    model = named_method(method).model
    ranked = asking(model, sizes, ranked=sizes.targets, judged=False)
    judged = asking(model, sizes, ranked=sizes.targets, judged=True) - ranked
    assert judged == pytest.approx(sizes.positions * measured["seconds_an_event"], rel=0.3)
    assert 0.5 < ranked / (sizes.targets * measured["seconds_a_target"]) < 2
    assert asking(named_method("sasrec-bce").model, sizes, ranked=sizes.targets, judged=True) == 0


def test_neighbours_that_judge_are_foreseen_where_events_are_labelled_in_what_they_count() -> None:
    def seconds(method: str = "v-sknn-window", path: str = "ml-1m", **noise: Any) -> float:
        spec = CellSpec(
            source=SourceSpec(path=path),
            noise=InjectedNoise.model_validate(noise),
            method=method,
            model=named_method(method).model,
        )
        cost = Rates({}, {}, {}).guess(spec, EXECUTION)
        assert cost is not None
        return cost.seconds

    without = seconds()
    assert without < 60
    assert 120 < seconds(ratio=0.25) - without < 300
    for unlabelled in ({"where": "histories"}, {"kind": "delete"}, {"taken_out": True}):
        assert seconds(ratio=0.25, **unlabelled) == without
    assert seconds("sasrec-bce", ratio=0.25) == seconds("sasrec-bce")
    assert seconds(path="shoppers") == seconds(path="shoppers", ratio=0.25), "they are labelled themselves"


def test_of_a_log_that_is_here_its_own_labels_say_whether_neighbours_judge(study: Study, home: Home) -> None:
    labelled = ingested(study, home)
    counts = labelled.manifest.counts.model_copy(update={"noisy": 0})
    plain = Snapshot(labelled.path, labelled.manifest.model_copy(update={"counts": counts}))
    model = replace(named_method("v-sknn").model, length=20)
    spec = study.cells[0].spec.model_copy(update={"model": model})
    noisy = spec.model_copy(update={"noise": InjectedNoise(ratio=0.2)})
    shipped = Rates({}, {}, {})

    def seconds(spec: CellSpec, snapshot: Snapshot, rates: Rates = shipped) -> float:
        return rates.cost(cell_of(spec, Data(snapshot, snapshot), EXECUTION), EXECUTION).seconds

    assert seconds(spec, labelled) > seconds(spec, plain)
    assert seconds(noisy, plain) == seconds(spec, labelled), "its noise has not been put in yet"

    kind = kind_of(model, device="cpu", threads=1, compiled=False, precision="float32")
    cost = seconds(spec, plain, Rates({kind: 1e-3}, {}, {}))
    users, positions = counts.users, 1 + sum(min(events - 3, 20) for events in range(3, 31))
    targets = counts.targets_validation + counts.targets_test
    sizes = Sizes(counts.items, users, counts.training, positions, targets)
    ranking = asking(model, sizes, ranked=targets, judged=False)
    assert cost == pytest.approx(STARTING_SECONDS + positions * COUNTED * 1e-3 + ranking), "validation is in the rate"


def test_only_masked_items_have_a_loss_to_be_counted() -> None:
    def of_the_loss(**changes: Any) -> float:
        model = ModelConfig(loss="softmax", **changes)
        return work(model, 3416) - work(model, 0)

    assert of_the_loss(backbone="bert4rec", masked=0.3) == pytest.approx(0.3 * of_the_loss())


def test_a_loss_that_a_model_does_not_read_costs_it_nothing() -> None:
    plain, other = ModelConfig(backbone="dreamrec"), ModelConfig(backbone="dreamrec", loss="softmax", negatives=256)
    assert work(plain, 3416) == work(other, 100)


def test_a_window_that_is_a_vector_costs_the_same_however_many_events_it_has() -> None:
    def of_a_window(positions: float, **changes: Any) -> float:
        model = ModelConfig(backbone="diffrec", **changes)
        return positions * work(model, 3416, window=positions)

    assert of_a_window(10.0) == pytest.approx(of_a_window(40.0)) == pytest.approx(of_a_window(40.0, dim=200, blocks=4))
    assert of_a_window(10.0, diffrec_hidden=600) == pytest.approx(3 * of_a_window(10.0))

    def memory(**changes: Any) -> float:
        model = ModelConfig(backbone="diffrec", **changes)
        cost = shipped.guess(CellSpec(source=SourceSpec(path="ml-1m"), method="m", model=model), EXECUTION)
        assert cost is not None
        return cost.memory_bytes

    shipped = Rates({}, {}, {})
    assert memory() == memory(dim=200, blocks=4)
    assert memory(diffrec_hidden=1200) - memory() == pytest.approx(4 * 6 * 2 * 3706 * 1000, rel=0.1)


def test_what_filters_all_places_costs_by_the_histories_that_it_reads() -> None:
    """One a window where filters are causal, and one an event where they are circular."""

    def of_a_window(backbone: str, events: float) -> float:
        model = ModelConfig(backbone=backbone, loss="softmax")
        return events * work(model, 0, window=events)

    assert of_a_window("fmlp-rec-causal", 6.0) == pytest.approx(of_a_window("fmlp-rec-causal", 44.0))
    assert of_a_window("fmlp-rec", 44.0) == pytest.approx(44 / 6 * of_a_window("fmlp-rec", 6.0))

    def cost(backbone: str) -> Cost:
        spec = CellSpec(source=SourceSpec(path="ml-1m"), method="m", model=ModelConfig(backbone=backbone))
        guess = Rates({}, {}, {}).guess(spec, EXECUTION)
        assert guess is not None
        return guess

    assert 50 < cost("fmlp-rec").seconds / cost("sasrec").seconds < 70, "60.6 were measured"
    assert 1.0 < cost("fmlp-rec-causal").seconds / cost("sasrec").seconds < 1.35, "1.16 were measured"
    assert cost("fmlp-rec").memory_bytes == pytest.approx(2.1e9, rel=0.2), "2.04 were measured"


def test_neighbours_beside_a_network_are_asked_once_by_validation_and_again_to_rank_and_judge() -> None:
    def cost(name: str, *, labelled: bool) -> Cost:
        noise = InjectedNoise(ratio=0.25 if labelled else 0.0)
        spec = CellSpec(source=SourceSpec(path="ml-1m"), method=name, model=named_method(name).model, noise=noise)
        guess = Rates({}, {}, {}).guess(spec, EXECUTION)
        assert guess is not None
        return guess

    for labelled in (False, True):
        pooled, network, neighbours = (
            cost(name, labelled=labelled) for name in ("sasrec-softmax-knn", "sasrec-softmax", "v-sknn-window")
        )
        assert pooled.seconds - network.seconds == pytest.approx(neighbours.seconds - STARTING_SECONDS, rel=0.1)
        assert 100e6 < pooled.memory_bytes - network.memory_bytes < 300e6


@pytest.mark.parametrize(
    ("source", "length", "positions"),
    [({"path": "ml-1m"}, 50, 270_000), ({"path": "ml-1m"}, 200, 650_000), ({"path": "ml-100k"}, 50, 38_762)],
)
def test_a_known_log_is_sized_before_it_is_here(source: dict[str, Any], length: int, positions: int) -> None:
    spec = CellSpec(source=SourceSpec(**source), method="m", model=ModelConfig(length=length))
    sizes = sizes_of(spec)
    assert sizes is not None
    assert sizes.positions == pytest.approx(positions, rel=0.1)
    assert sizes_of(spec.model_copy(update={"source": SourceSpec(path="log.csv")})) is None


def test_in_a_new_state_folder_shoppers_are_guessed_and_marked_so(home: Home) -> None:
    study = read_study(PROJECT_ROOT / "studies" / "quick.yaml")
    cells = foreseen(study, EXECUTION, home=home)
    assert all(cell.cost is not None and cell.cost.guessed and cell.trained is None for cell in cells)
    told = list(describe(study, cells, EXECUTION, home=home))
    rows = [line for line in told if "GB" in line and "  ?  " in line]
    assert len(rows) == 12
    assert all(line.count("about ") == 2 for line in rows)
    (time,) = [line for line in told if line.startswith("Time:    about ")]
    assert time.split("about ")[1].split(" with")[0].endswith("min")
    assert any("guessed" in line for line in told)
    generate(study.cells[0].spec.source.shoppers.model_copy(update={"users": 400}), home.root / "shoppers.parquet")
    events = pd.read_parquet(home.root / "shoppers.parquet").groupby("user_id").size()
    guessed = sizes_of(study.cells[0].spec)
    assert guessed is not None
    assert guessed.interactions / 1500 == pytest.approx(events.mean(), rel=0.1)
    assert guessed.positions / 1500 == pytest.approx((events - 3).clip(0, 50).mean(), rel=0.15)
    assert not home.snapshots.exists(), "a dry run makes nothing"


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


@pytest.mark.parametrize(
    "left", ['{"config": {"of_another_version": 1}, "item_count": 40, "user_count": 0}', "{}", "half"]
)
def test_a_training_of_another_version_is_passed_over(home: Home, left: str) -> None:
    finished(home, seconds=40.0, epochs=10, positions=1000, peak=PROCESS_BYTES)
    assert rates(home).seconds
    (home.steps / "train" / "some" / DESCRIPTION_FILE).write_text(left, encoding="utf-8")
    assert rates(home) == Rates({}, {}, {})
