"""What is compared with what, and what counts as a repetition."""

import html
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from models.engine.metrics import PROTOCOLS
from tasks.errors import InputError
from tasks.home import Home
from tasks.reporting.analysis import FULL, NOISE_SHARE, SEED, analysed, ranks_in
from tasks.reporting.detection import grid as detection_grid
from tasks.reporting.grid import records
from tasks.reporting.page import all_tables, write_report
from tasks.reporting.sights import sights
from tasks.reporting.words import answer
from tasks.statistics.comparison import spread_by_method
from tasks.statistics.panel import Scores, align, scores
from tasks.statistics.relative import gaps_closed, retentions
from tasks.statistics.slices import tertile_edges
from tasks.study import terminal
from tasks.study.result import CellResult, Noise, Place, StudyResult
from tests.tasks.reporting.counting import RESAMPLES, drawn_anew, finished
from tests.tasks.reporting.reading import table
from tests.tasks.study_results import METHODS, USERS, Ranks, detection, study


def rng() -> np.random.Generator:
    """That of a study's intervals."""
    return np.random.default_rng(SEED)


def test_shares_count_what_seeds_do_to_a_method_at_all_places(noise: tuple[StudyResult, Ranks]) -> None:
    result, ranks = noise
    at, names, quiet = Place("ml-100k", Noise("replace", 0.25, "both"), {}), (*METHODS, "oracle"), " without noise"
    spread = spread_by_method(one.table for one in result.comparisons if one.table.metric == FULL)
    spread |= {name + quiet: spread[name] for name in names}

    def trained(ratio: float, *, called: str) -> list[Scores]:
        return [
            scores(ranks(cell), FULL, method=called.format(name), seed=cell.seed, training=cell.train_key)
            for name in names
            for cell in finished(result, name, ratio)
        ]

    here, before = trained(0.25, called="{}"), trained(0.0, called="{}" + quiet)
    (closed,) = (held.gaps for held in result.gaps if (held.place, held.metric) == (at, FULL))
    assert closed == gaps_closed(
        align(here), METHODS[1:], noisy="plain", oracle="oracle", rng=rng(), spread=spread, resamples=RESAMPLES
    )
    (kept,) = (held.retentions for held in result.retained if (held.place, held.metric) == (at, FULL))
    bases = {name: name + quiet for name in names}
    assert kept == retentions(align([*here, *before]), bases, rng=rng(), spread=spread, resamples=RESAMPLES)
    assert {share.shown.basis for share in (*closed, *kept)} == {"percentile bootstrap over users and seeds"}


def test_values_of_an_axis_can_be_compared(tmp_path: Path) -> None:
    result, ranks = study(
        methods=("plain",),
        ratios=(0.2,),
        seeds=(1,),
        settings={"model.beta": (0.0, 0.001, 0.1)},
        reference={"model.beta": 0.0},
    )
    write_report(analysed(result, ranks, resamples=RESAMPLES), None, tmp_path)
    rows = table(tmp_path / "tables" / "comparison.csv")
    assert set(rows.method) == {"β 0", "β 0.001", "β 0.1"}
    assert set(rows.reference) == {"β 0"}
    assert sorted(table(tmp_path / "tables" / "model-beta.csv")["model.beta"].unique()) == [0.0, 0.001, 0.1]


@pytest.mark.parametrize(
    ("axis", "values", "words"),
    [
        ("noise.taken_out", (False, True), ("noise taken out no", "noise taken out yes")),
        ("source.shoppers.users", (100, 2000), ("shoppers users 100", "shoppers users 2000")),
        ("source.path", ("early.csv", "late.csv"), ("source path early.csv", "source path late.csv")),
        ("filter.below", (0.3, 0.5), ("filter below 0.3", "filter below 0.5")),
        ("source", ("early", "late"), ("source early", "source late")),
        ("noise", ("early", "late"), ("noise early", "noise late")),
        ("seeds", ("short", "long"), ("seeds short", "seeds long")),
        ("methods", ("short", "long"), ("methods short", "methods long")),
    ],
)
def test_cells_that_differ_in_any_other_axis_have_rows_of_their_own(
    tmp_path: Path, axis: str, values: tuple[str | float, ...], words: tuple[str, ...]
) -> None:
    made, ranks = study(methods=("plain", "better"), ratios=(0.25,), settings={"level": (1, 2)})
    cells = []
    for cell in made.cells:
        axes = {name: value for name, value in cell.axes.items() if name != "level"}
        cells.append(replace(cell, axes=axes | {axis: values[int(str(cell.axes["level"])) - 1]}))
    result = analysed(replace(made, cells=tuple(cells)), ranks, resamples=RESAMPLES)
    found = detection("plain", 0.25, strength=1.0)
    detected = tuple(replace(found, place=sight.place) for sight in sights(result))
    write_report(replace(result, detection=detected), None, tmp_path)
    rows = table(tmp_path / "tables" / "comparison.csv")
    rows = rows[rows.metric == FULL]
    assert sorted(zip(rows.setting, rows.method, strict=True)) == sorted(
        (told, method) for told in words for method in ("plain", "better")
    )
    for told, value in zip(words, values, strict=True):
        for method in ("plain", "better"):
            own = [cell for cell in cells if cell.method == method and cell.axes[axis] == value]
            (mean,) = rows[(rows.setting == told) & (rows.method == method)]["mean"]
            assert mean == pytest.approx(np.mean([cell.metrics[FULL] for cell in own]))
    in_the_terminal = [tuple(row.values()) for row in terminal.table(result)]
    assert len(set(in_the_terminal)) == len(in_the_terminal) == 4
    page = (tmp_path / "report.html").read_text()
    assert set(table(tmp_path / "tables" / "noise-detection.csv").setting) == set(words)
    assert set(table(tmp_path / "tables" / "detection.csv").setting) == set(words)
    assert all(f"25 % replace noise, {told}" in page for told in words)
    assert f"| {words[0].rsplit(' ', 1)[0]} |" in (tmp_path / "tables" / "comparison.md").read_text()


def test_two_experiments_are_never_one_value_of_a_table() -> None:
    result, ranks = study(methods=("plain", "better"), ratios=(0.25,), seeds=(1,))
    first, second = result.cells
    alike = replace(second, label="another, seed 1", evaluate_key="evaluate/another")
    with pytest.raises(InputError, match=r"'better, noise 25%, seed 1' and 'another, seed 1' are two experiments"):
        analysed(replace(result, cells=(first, second, alike)), ranks, resamples=RESAMPLES)
    shared = replace(result, cells=(first, second, replace(second, label="another, seed 1")))
    assert (
        analysed(shared, ranks, resamples=RESAMPLES).comparisons
        == analysed(result, ranks, resamples=RESAMPLES).comparisons
    )


def test_draws_of_noise_that_seeds_share_do_not_make_more_seeds(tmp_path: Path) -> None:
    """Two seeds on each of three draws are two repetitions and not six: each the mean over its draws."""
    made, ranks = study(methods=("plain", "better"), ratios=(0.25,), seeds=(1, 2, 3, 4, 5, 6))
    crossed = {1: (1, 0), 2: (1, 1), 3: (1, 2), 4: (2, 0), 5: (2, 1), 6: (2, 2)}
    result = analysed(drawn_anew(made, crossed), ranks, resamples=RESAMPLES)
    (sight,) = sights(result)
    for row in sight.tables[FULL].rows:
        means = [
            np.mean([cell.metrics[FULL] for cell in result.cells if (cell.method, cell.seed) == (row.method, seed)])
            for seed in (1, 2)
        ]
        assert row.seeds == (1, 2)
        assert (row.over_seeds.n, row.over_seeds.value) == (2, pytest.approx(np.mean(means)))
        assert row.squares is not None
        assert row.squares.between / row.squares.users == pytest.approx(np.var(means, ddof=1))
    found = [detection("plain", 0.25, strength=1.0 + 0.1 * number, seed=number) for number in range(6)]
    told = detection_grid(replace(result, detection=tuple(replace(one, seed=1 + one.seed % 2) for one in found)))
    assert told is not None
    areas = [np.mean([one.auroc for one in found[first::2]]) for first in (0, 1)]
    half = stats.t.ppf(0.975, 1) * np.std(areas, ddof=1) / 2**0.5
    assert [(row[4].text, row[-1].text) for row in told.rows] == [(f"{np.mean(areas):.3f} ± {half:.3f}", "2")]
    said = "Noise was drawn 3 times, and several seeds were trained on the same draw"
    write_report(result, None, tmp_path)
    assert said in (tmp_path / "report.html").read_text()
    write_report(analysed(made, ranks, resamples=RESAMPLES), None, tmp_path)
    assert said not in (tmp_path / "report.html").read_text()


def test_a_seed_with_a_draw_of_its_own_is_one_repetition_with_and_without_noise(tmp_path: Path) -> None:
    made, ranks = study(methods=("plain", "better"), ratios=(0.0, 0.25), seeds=(1, 2, 3))
    result = analysed(drawn_anew(made, {seed: (seed, 10 + seed) for seed in (1, 2, 3)}), ranks, resamples=RESAMPLES)
    assert all(row.seeds == (1, 2, 3) for sight in sights(result) for row in sight.tables[FULL].rows)
    kept = result.retained[0].retentions[0]
    assert kept.share_over_seeds.n == 3
    write_report(result, None, tmp_path)
    assert "Noise was drawn" not in (tmp_path / "report.html").read_text()


def test_targets_are_parted_by_what_the_reference_met_over_all_draws_of_noise() -> None:
    """A gain in clean histories alone, which are others in each draw; the oracle, first in the file, met no noise."""
    made, _ = study(methods=("oracle", "plain", "better"), ratios=(0.25,), oracle="oracle")
    number = np.arange(USERS)
    noisy = {seed: number // seed % 2 == 1 for seed in (1, 2)}

    def ranks(cell: CellResult) -> pd.DataFrame:
        met = noisy[cell.seed] & (cell.method != "oracle")
        first = (cell.method == "better") & ~met
        times = 100 if cell.method == "oracle" else cell.seed
        columns = {"target": number, "split": "test", "user": number, "history": number + times}
        columns |= {"popularity": number * times, NOISE_SHARE: np.where(met, 0.4, 0.0)}
        return pd.DataFrame(columns | {f"rank_{name}": np.where(first, 0.0, 2.0) for name in PROTOCOLS})

    result = analysed(drawn_anew(made, {1: (1, 11), 2: (2, 12)}), ranks, resamples=RESAMPLES)
    cuts = {cut.sliced.quantity: cut.sliced.slices for cut in result.slices if cut.metric == FULL}
    gain = 1.0 - 1.0 / np.log2(4.0)
    assert {part.label: (part.targets, part.differences["better"].value) for part in cuts["noise in the history"]} == {
        "none": (USERS / 4, pytest.approx(gain)),
        "under 10 %": (0, None),
        "10 % to under 25 %": (USERS / 2, pytest.approx(gain / 2)),
        "25 % and over": (USERS / 4, 0.0),
    }
    for quantity, met in (("popularity of the target", 1.5 * number), ("history length", number + 1.5)):
        low, high = tertile_edges(met)
        assert [(part.low, part.high) for part in cuts[quantity]] == [(None, low), (low, high), (high, None)]


def test_of_one_seed_the_draws_of_noise_are_the_repetitions_and_are_called_so(tmp_path: Path) -> None:
    made, ranks = study(methods=("plain", "better"), ratios=(0.25,), seeds=(1, 2, 3))
    result = analysed(drawn_anew(made, {number: (7, 10 + number) for number in (1, 2, 3)}), ranks, resamples=RESAMPLES)
    assert all(row.seeds == (11, 12, 13) for sight in sights(result) for row in sight.tables[FULL].rows)
    found = tuple(detection("plain", 0.25, strength=1.0 + number / 10, seed=7) for number in (1, 2, 3))
    result = replace(result, detection=found)
    said = " ".join(map(str, answer(result)))
    assert "From draw to draw a training's NDCG@10" in said
    assert "All trainings have the same seed, on several draws of noise" in said
    held = {grid.name: records(grid) for grid in all_tables(result)}
    assert {row["Draws"] for name in ("comparison", "noise-detection") for row in held[name]} == {"3"}
    text = re.sub(r"<details>.*?</details>", "", write_report(result, None, tmp_path).read_text())
    for told in (text, terminal.plain(result)):
        assert not re.search(r"[Ss]eeds\b", html.unescape(re.sub(r'href="[^"]*"|<[^>]+>', " ", told)))


def test_a_method_without_an_axis_is_compared_at_each_of_its_values() -> None:
    result, ranks = study(methods=("plain", "better"), ratios=(0.0,), seeds=(1,), settings={"model.beta": (0.01, 0.1)})
    cells = []
    for cell in result.cells:
        axes = {axis: value for axis, value in cell.axes.items() if cell.method == "better" or axis != "model.beta"}
        if cell.method == "better" or cell.axes["model.beta"] == 0.01:
            cells.append(replace(cell, axes=axes))
    places = [
        sight
        for sight in sights(analysed(replace(result, cells=tuple(cells)), ranks, resamples=RESAMPLES))
        if sight.place.setting
    ]
    assert [(sight.reference, sight.methods) for sight in places] == [("plain", ("plain", "better"))] * 2


def test_ranks_are_read_with_the_noise_in_each_history(tmp_path: Path) -> None:
    result, _ = study(methods=("plain",), ratios=(0.0,), seeds=(1,))
    home, digest = Home(tmp_path), "ab" * 32
    cell = replace(result.cells[0], ranks="steps/ranks.parquet", histories=digest)
    home.steps.mkdir(parents=True)
    pd.DataFrame({"target": [0, 1], "user": [0, 1], "history": [4, 1]}).to_parquet(home.root / "steps/ranks.parquet")
    assert NOISE_SHARE not in ranks_in(home)(cell)
    snapshot = home.snapshots / digest[:16]
    snapshot.mkdir(parents=True)
    log = pd.DataFrame({"user": [0] * 5 + [1] * 2, "noise_kind": ["replace", None, None, None, None, None, "replace"]})
    log.to_parquet(snapshot / "interactions.parquet")
    assert ranks_in(home)(cell)[NOISE_SHARE].tolist() == [0.25, 0.0]
