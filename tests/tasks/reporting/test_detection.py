"""Noise detection on a study's page."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tasks.reporting.figures import figures
from tasks.reporting.page import write_report
from tasks.study.result import StudyResult
from tests.tasks.reading import text_of
from tests.tasks.reporting.reading import table
from tests.tasks.study_results import Ranks, detection


def test_noise_detection_has_a_section_with_its_table_and_what_it_stands_on(
    noise: tuple[StudyResult, Ranks], page: Path
) -> None:
    result = noise[0]
    text = page.read_text()
    assert '<section id="detection">' in text
    assert "0.5 is chance" in text
    rows = table(page.parent / "tables" / "noise-detection.csv")
    assert rows["auroc"].tolist() == pytest.approx([found.auroc for found in result.detection])
    told = (page.parent / "tables" / "noise-detection.md").read_text()
    curves = table(page.parent / "tables" / "detection.csv").groupby(["method", "detector", "seed"])
    for found in result.detection:
        assert f"| {found.method} | own score | {found.auroc:.3f} ({found.low:.3f} to {found.high:.3f}) |" in told
        curve = curves.get_group((found.method, found.detector, found.seed))
        area = np.trapezoid(curve["true_positive_rate"], curve["false_positive_rate"])
        assert area == pytest.approx(found.auroc, abs=3e-3)
    assert max(found.auroc for found in result.detection) > 0.6, "of exchanged axes the area would be another"
    quiet = write_report(replace(result, detection=()), None, page.parent / "quiet").read_text()
    assert "Noise detection" not in quiet


def test_seeds_are_meant_and_popularity_is_drawn_once(noise: tuple[StudyResult, Ranks], tmp_path: Path) -> None:
    own = [detection(method, 0.25, strength=1.0, seed=seed) for method in ("better", "equal") for seed in (1, 2)]
    rare = [replace(found, detector="popularity", auroc=0.6 + found.seed / 100) for found in own]
    of_kind = [replace(found, kind="bots", false_positive_rates=(), true_positive_rates=()) for found in own]
    result = replace(noise[0], detection=(*own, *rare, *of_kind))
    text = text_of(write_report(result, None, tmp_path))
    drawing = next(figure for figure in figures(result) if figure.name == "detection").panels[0]
    assert drawing.count("popularity: area 0.615") == 2  # in the legend and in the words for who does not see it
    assert f"better, own score: area {np.mean([found.auroc for found in own[:2]]):.3f}" in drawing
    caught, share = np.mean([found.caught for found in own[:2]]), np.mean([found.positives / 2000 for found in own[:2]])
    assert f">{100 * caught:.1f} %<" in text
    assert f">{100 * share:.1f} %<" in text
    areas = [found.auroc for found in own[:2]]
    half = stats.t.ppf(0.975, 1) * np.std(areas, ddof=1) / 2**0.5
    assert f"{np.mean(areas):.3f} ± {half:.3f}" in text
    assert len(table(tmp_path / "tables" / "noise-detection.csv")) == 12
    told = (tmp_path / "tables" / "noise-detection.md").read_text()
    assert [line.count("popularity") for line in told.splitlines() if "| 0.615 " in line] == [1]
    assert "| all | any | popularity | 0.615 " in told


def test_popularity_has_one_row_for_all_where_every_method_met_the_same_draws_of_noise(
    noise: tuple[StudyResult, Ranks], tmp_path: Path
) -> None:
    rare = [
        replace(detection(method, 0.25, strength=1.0, seed=seed), detector="popularity", auroc=area + seed / 100)
        for method in ("better", "equal")
        for seed in (1, 2)
        for area in (0.60, 0.70)
    ]
    write_report(replace(noise[0], detection=tuple(rare)), None, tmp_path)
    told = (tmp_path / "tables" / "noise-detection.md").read_text()
    assert told.count("popularity") == 1
    assert "| all | any | popularity | 0.665 " in told


def test_popularity_has_a_row_a_method_where_methods_were_trained_on_different_interactions(
    noise: tuple[StudyResult, Ranks], tmp_path: Path
) -> None:
    rare = [
        replace(detection(method, 0.25, strength=1.0), detector="popularity", auroc=area)
        for method, area in (("better", 0.61), ("equal", 0.62), ("oracle", 0.62))
    ]
    write_report(replace(noise[0], detection=tuple(rare)), None, tmp_path)
    told = (tmp_path / "tables" / "noise-detection.md").read_text()
    for method, area in (("better", 0.61), ("equal", 0.62), ("oracle", 0.62)):
        assert f"| all | {method} | popularity | {area:.3f} " in told


def test_a_noise_model_is_called_so_and_not_as_its_column(noise: tuple[StudyResult, Ranks], tmp_path: Path) -> None:
    judged = replace(detection("better", 0.25, strength=1.0), detector="noise_model")
    write_report(replace(noise[0], detection=(judged,)), None, tmp_path)
    told = (tmp_path / "tables" / "noise-detection.md").read_text()
    assert "| better | noise model |" in told


def test_a_file_of_before_has_detections_without_intervals(noise: tuple[StudyResult, Ranks], tmp_path: Path) -> None:
    kept = json.loads(noise[0].to_json())
    for found in kept["detection"]:
        for name in ("detector", "kind", "low", "high", "average_precision", "caught"):
            del found[name]
    read = StudyResult.from_json(json.dumps(kept))
    assert [found.auroc for found in read.detection] == [found.auroc for found in noise[0].detection]
    write_report(read, None, tmp_path)
    del kept["detection"]
    assert StudyResult.from_json(json.dumps(kept)).detection == ()
