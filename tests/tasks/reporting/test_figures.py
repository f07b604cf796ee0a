"""A study's figures draw what their CSV files say, and these what the ranks say."""

import csv
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tasks.gates import GateLayer
from tasks.home import PROJECT_ROOT
from tasks.reporting.analysis import FULL, SAMPLED, analysed
from tasks.reporting.figures import figures
from tasks.reporting.page import write_report
from tasks.reporting.sights import cells_of, sights
from tasks.study.result import Noise, Place, StudyResult
from tests.tasks.reading import text_of
from tests.tasks.reporting.counting import RESAMPLES, finished
from tests.tasks.reporting.reading import (
    charts_of,
    corners,
    drawings,
    forest,
    markers,
    scale,
    table,
    whiskers,
)
from tests.tasks.study_results import Ranks, detection, study


def test_every_figure_is_xml_with_real_text_and_a_description(page: Path) -> None:
    charts = [chart for chart in drawings(page.read_text()) if chart.get("role") == "img"]
    assert len(charts) >= 14
    for chart in charts:
        assert chart.findtext("title")
        assert chart.findtext("desc")
        assert len(chart.findall(".//text")) > 5
        assert not chart.findall(".//image")


def test_every_figure_has_a_csv_of_its_numbers(noise: tuple[StudyResult, Ranks], page: Path) -> None:
    drawn = figures(noise[0])
    assert {figure.name for figure in drawn} == {
        "differences",
        "robustness",
        "slices-popularity-of-the-target",
        "slices-history-length",
        "slices-noise-in-the-history",
        "detection",
        "cost",
        "gate",
        "learning",
    }
    for figure in drawn:
        with (page.parent / "tables" / f"{figure.name}.csv").open(newline="") as file:
            read = list(csv.reader(file))
        assert tuple(read[0]) == figure.frame.columns
        for row, written in zip(figure.frame.rows, read[1:], strict=True):
            assert ["" if value is None else str(value) for value in row] == written


def test_a_figures_points_lie_where_its_csv_says(noise: tuple[StudyResult, Ranks], page: Path) -> None:
    rows = table(page.parent / "tables" / "robustness.csv")
    rows = rows[rows.metric == FULL]
    (chart,) = charts_of(page, "NDCG@10, full ranking against")
    across, up = scale(chart, "x"), scale(chart, "y")
    drawn = markers(chart)
    assert len(drawn) == len(rows) == 12
    for row, (tip, x, y, _) in zip(rows.itertuples(), drawn, strict=True):
        assert f"{row.series}, share of noise, % {row.noise_ratio:g}: {row.mean:.4f}" in tip
        assert (x, y) == pytest.approx((across(row.noise_ratio), up(row.mean)), abs=0.05)


def test_differences_lie_where_their_csv_says_and_a_filled_marker_is_significant(page: Path) -> None:
    found = table(page.parent / "tables" / "differences.csv")
    for metric, heading in ((FULL, "full ranking"), (SAMPLED, "100 negatives")):
        (chart,) = charts_of(page, f"Gain in NDCG@10, {heading}")
        rows = found[found.metric == metric]
        assert set(rows.significant) == {0, 1}
        forest(chart, rows, rows.gain_percent, filled=rows.significant == 1)


@pytest.mark.parametrize("quantity", ["popularity of the target", "history length", "noise in the history"])
def test_slices_lie_where_their_csv_says_and_a_filled_marker_leaves_0_out(page: Path, quantity: str) -> None:
    found = table(page.parent / "tables" / f"slices-{quantity.replace(' ', '-')}.csv")
    for metric, heading in ((FULL, "full ranking"), (SAMPLED, "100 negatives")):
        (chart,) = charts_of(page, f"NDCG@10, {heading} by {quantity}, 25 % replace noise")
        rows = found[found.metric == metric]
        filled = (rows.low > 0.0) | (rows.high < 0.0)
        assert set(filled) == {True, False}
        forest(chart, rows, rows.difference, filled=filled)


def test_a_slice_with_a_filled_marker_is_not_taken_for_significant(page: Path) -> None:
    """In the figure of differences a filled marker is a verdict."""
    told = re.sub(r"<[^>]+>", " ", page.read_text().partition('id="figure-slices-popularity')[2].partition("<svg")[0])
    assert "A filled marker is a difference whose interval leaves 0 out, and no verdict" in told


@pytest.mark.parametrize(("unit", "label"), [("seconds", "training time, s"), ("MiB", "peak memory, MiB")])
def test_quality_lies_beside_its_cost(noise: tuple[StudyResult, Ranks], page: Path, unit: str, label: str) -> None:
    rows = table(page.parent / "tables" / "cost.csv")
    rows = rows[rows.cost == unit]
    (chart,) = charts_of(page, f"NDCG@10, full ranking beside {label}")
    across, up = scale(chart, "x"), scale(chart, "y")
    for row, (tip, x, y, _), ends in zip(rows.itertuples(), markers(chart), whiskers(chart), strict=True):
        own = finished(noise[0], str(row.method), 0.25)
        spent = [cell.figures.seconds or 0.0 for cell in own]
        held = [(cell.figures.peak_memory_bytes or 0) / 2**20 for cell in own]
        assert row.value == pytest.approx(np.mean(spent if unit == "seconds" else held))
        assert row.mean == pytest.approx(np.mean([cell.metrics[FULL] for cell in own]))
        assert tip.startswith(f"{row.method}: {row.value:.4g} {unit}")
        assert (x, y) == pytest.approx((across(row.value), up(row.mean)), abs=0.05)
        assert ends == pytest.approx(np.array([[x, up(row.low)], [x, up(row.high)]]), abs=0.05)


def test_what_gates_keep_is_the_mean_over_trainings(noise: tuple[StudyResult, Ranks], page: Path) -> None:
    rows = table(page.parent / "tables" / "gate.csv")
    rows = rows[(rows.noise == "25 % replace") & (rows.method == "equal")]
    gates = [cell.figures.gate for cell in finished(noise[0], "equal", 0.25)]
    (chart,) = charts_of(page, "Keep-probability by distance, 25 % replace noise")
    across, up = scale(chart, "x"), scale(chart, "y")
    lines = [corners(path) for path in chart.iter("path") if path.get("class", "").startswith("line ")]
    for number, ((layer, own), line) in enumerate(zip(rows.groupby("layer"), lines, strict=True)):
        held = [gate[number] for gate in gates]
        keep, is_open = np.mean([one.mean_keep for one in held]), np.mean([one.open_share for one in held])
        assert layer == held[0].layer == number + 1
        assert own.mean_keep.to_numpy() == pytest.approx(keep)
        assert own.open_share.to_numpy() == pytest.approx(is_open)
        assert f"equal, layer {layer}: keeps {keep:.3f}, {1.0 - is_open:.1%} closed" in page.read_text()
        assert own.keep.to_numpy() == pytest.approx(np.mean([one.keep_by_distance for one in held], axis=0))
        places = np.array([[across(row.distance), up(row.keep)] for row in own.itertuples()])
        assert line == pytest.approx(places, abs=0.05)


def test_the_marker_of_a_learning_curve_is_the_epoch_that_validation_chose(
    noise: tuple[StudyResult, Ranks], page: Path
) -> None:
    rows = table(page.parent / "tables" / "learning.csv")
    rows = rows[rows.noise == "25 % replace"]
    (chart,) = charts_of(page, "Validation NDCG@10 by epoch, 25 % replace noise")
    across, up = scale(chart, "x"), scale(chart, "y")
    metric = "validation.full_unseen.ndcg_at_10"
    chosen = rows[rows.chosen == 1]
    for row, metrics, (tip, x, y, _) in zip(chosen.itertuples(), chosen[metric], markers(chart), strict=True):
        (own,) = [cell for cell in finished(noise[0], str(row.method), 0.25) if cell.seed == row.seed]
        assert row.epoch == own.figures.best_epoch
        assert tip == f"{row.method}, seed {row.seed}, epoch {row.epoch}: {metrics:.4f}"
        assert (x, y) == pytest.approx((across(row.epoch), up(metrics)), abs=0.05)
    lines = [corners(path) for path in chart.iter("path") if path.get("class", "").startswith("line ")]
    for (_, own), line in zip(rows.groupby(["method", "seed"], sort=False), lines, strict=True):
        assert line == pytest.approx(np.array([[*map(across, own.epoch)], [*map(up, own[metric])]]).T, abs=0.05)


def test_learning_curves_are_named_at_their_ends(noise: tuple[StudyResult, Ranks]) -> None:
    (drawn,) = (figure for figure in figures(noise[0]) if figure.name == "learning")
    for panel in drawn.panels:
        chart = next(drawings(panel[panel.index('<svg class="chart"') :]))
        names = [text.findtext("title") for text in chart.findall("text[@class='label']")]
        assert sorted(filter(None, names)) == ["better", "equal", "oracle", "plain"]


def test_what_was_validated_once_has_no_learning_curve(noise: tuple[StudyResult, Ranks]) -> None:
    counting = [replace(cell, history=cell.history[:1]) if cell.method == "better" else cell for cell in noise[0].cells]
    (drawn,) = (figure for figure in figures(replace(noise[0], cells=tuple(counting))) if figure.name == "learning")
    assert {row[3] for row in drawn.frame.rows} == {"plain", "equal", "oracle"}
    assert not any("better" in panel for panel in drawn.panels)
    assert "has no line" in drawn.caption
    counting = [replace(cell, history=cell.history[:1]) for cell in noise[0].cells]
    assert "learning" not in {figure.name for figure in figures(replace(noise[0], cells=tuple(counting)))}


def test_epochs_are_told_in_whole_numbers(noise: tuple[StudyResult, Ranks]) -> None:
    short = [replace(cell, history=cell.history[:2]) for cell in noise[0].cells]
    (drawn,) = (figure for figure in figures(replace(noise[0], cells=tuple(short))) if figure.name == "learning")
    for panel in drawn.panels:
        (chart,) = drawings(panel[panel.index('<svg class="chart"') :])
        marks = [text.text for text in chart.iter("text") if text.get("text-anchor") == "middle" and text.text]
        assert marks == [str(epoch.epoch) for epoch in short[0].history]


def test_slices_say_what_their_numbers_are(page: Path) -> None:
    text = page.read_text()
    for title, told in (
        ("By popularity of the target", "how many events the target&#39;s item has"),
        ("By history length", "how many events the history has"),
    ):
        assert told in text.split(f"<h3>{title}</h3>")[1].split("</figcaption>")[0]


def test_no_label_reaches_out_of_its_chart(tmp_path: Path) -> None:
    """At the width of a letter in a browser's usual type; an anchor says to which side of its place a text runs."""
    compared = {"training.learning_rate": 0.001, "source.shoppers.users": 2000}
    elsewhere = {"model.length": 50, "training.batch_size": 256, "training.patience": 10, "filter.below": 0.5}
    at = Place("ml-100k", Noise("replace", 0.25, "both"), dict(elsewhere))
    found, ranks = study(
        methods=("plain", "equal"),
        seeds=(1,),
        ratios=(0.0, 0.25),
        settings={axis: (value,) for axis, value in (compared | elsewhere).items()},
        reference={"method": "plain", **compared},
        detection=(replace(detection("plain", 0.25, strength=1.0), place=at),),
    )
    result = analysed(found, ranks, resamples=RESAMPLES)
    place = "25 % replace noise, length 50, batch size 256, patience 10, filter below 0.5"
    text = text_of(write_report(result, None, tmp_path))
    headed = re.findall(rf"<h4>{place}</h4>(?:<ul.*?</ul>)?<svg.*?<title[^>]*>(.*?)</title>", text)
    for told in ("popularity", "history length", "noise in", "time", "memory", "detection", "Keep-prob", "Validation"):
        assert any(told in title for title in headed), told
    for chart in filter(lambda chart: chart.get("role") == "img", drawings(text)):
        width = float(chart.get("viewBox", "").split()[2])
        for text in chart.iter("text"):
            told = text.text or text.findtext("tspan") or ""
            before = {"start": 0.0, "middle": 0.5, "end": 1.0}[text.get("text-anchor", "start")] * 6.1 * len(told)
            left = float(text.get("x", 0)) - before
            assert 0.0 <= left < left + 6.1 * len(told) <= width, told


def test_axes_make_figures_of_their_own(tmp_path: Path) -> None:
    result, ranks = study(
        methods=("plain", "better"),
        kinds=("replace", "popular"),
        ratios=(0.0, 0.2),
        seeds=(1,),
        settings={"model.length": (20, 50)},
    )
    page = write_report(analysed(result, ranks, resamples=RESAMPLES), None, tmp_path)
    names = {path.name for path in (tmp_path / "tables").iterdir()}
    assert {"model-length.csv", "model-length-2.csv", "robustness.csv", "kinds.md", "kinds-2.md"} <= names
    rows = table(tmp_path / "tables" / "model-length.csv")
    assert sorted(set(rows["model.length"])) == [20, 50]
    assert "25" not in (tmp_path / "tables" / "kinds.md").read_text().splitlines()[0]
    assert "20 % popular" in (tmp_path / "tables" / "kinds.md").read_text()
    assert "Effect of length" in page.read_text()
    # Without noise there is one place, whatever kind it would have been of.
    assert sum(sight.place.noise is None for sight in sights(analysed(result, ranks, resamples=RESAMPLES))) == 2


def test_a_figure_whose_points_were_taken_out_is_not_drawn(noise: tuple[StudyResult, Ranks]) -> None:
    layer = GateLayer(0, 0.9, 0.8, (0.9, 0.8))
    cells = [replace(cell, figures=replace(cell.figures, gate=(layer,))) for cell in noise[0].cells]
    result = replace(noise[0], cells=tuple(cells))
    gone = {"detection", "gate", "learning"}
    assert gone <= {figure.name for figure in figures(result)}
    handed = result.to_hand_on()
    assert not gone & {figure.name for figure in figures(handed)}


RESULTS = PROJECT_ROOT / "studies" / "results"


def test_settings_that_cells_are_included_with_are_drawn_with_the_others_as_they_come() -> None:
    """β is an axis of the file, γ one of included cells alone; the plain method has neither."""
    read = StudyResult.from_json((RESULTS / "figure-4-ml-100k.json").read_text())
    drawn = {figure.name: figure.frame for figure in figures(read)}
    for name, expected in (
        ("model-beta", [0.01, 0.02, 0.04, 0.06, 0.08, 0.1]),
        ("model-gamma", [0.0, 0.00001, 0.0001, 0.001, 0.01, 0.1]),
    ):
        at = drawn[name].columns.index(name.replace("-", "."))
        rows = [row for row in drawn[name].rows if row[2] == FULL]
        assert [row[at] for row in rows] == expected
        assert {row[3] for row in rows} == {"rec-denoiser"}
    at = Place("ml-100k", Noise("replace", 0.2, "both"), {"model.gamma": 0.1})
    assert [cell.axes.get("model.gamma") for cell in cells_of(read, at, "rec-denoiser")] == [0.1, 0.1]
    assert [cell.method for cell in cells_of(read, at, "sasrec-bce")] == ["sasrec-bce"] * 2


def test_a_settings_figure_holds_only_what_differs_in_it() -> None:
    read = StudyResult.from_json((RESULTS / "figure-4-published-ml-100k.json").read_text())
    drawn = {figure.name: figure.frame for figure in figures(read)}
    for name, expected in (
        ("model-beta", [0.00001, 0.0001, 0.001, 0.01, 0.1]),
        ("model-gamma", [0.00001, 0.0001, 0.001, 0.01, 0.1]),
    ):
        rows = [row for row in drawn[name].rows if row[2] == FULL]
        assert [row[4] for row in rows] == expected
        assert {row[3] for row in rows} == {"as-published"}
