"""A study's page holds all that there is to say, and reaches for nothing outside."""

import html
import json
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

from tasks.home import PROJECT_ROOT
from tasks.reporting import shell
from tasks.reporting.analysis import analysed
from tasks.reporting.page import write_report
from tasks.study.result import StudyResult
from tests.tasks.reading import text_of
from tests.tasks.reporting.counting import RESAMPLES
from tests.tasks.reporting.reading import balanced, drawings
from tests.tasks.study_results import Ranks, study

HOSTILE = """<script>alert("x")</script> & 'quoted' | {\\x_1}$%\x00"""


def test_the_page_reaches_for_nothing_outside(page: Path) -> None:
    text = page.read_text()
    assert not re.search(r"https?:", text)
    assert not re.search(r"<script[^>]+src|<link|<img|<iframe|@import|url\(", text)
    links = re.findall(r'href="([^"]*)"', text)
    assert links
    assert all(link.startswith(("#", "data:text/", "data:application/x-tex")) for link in links)
    assert "default-src &#39;none&#39;" in text


def test_the_page_names_data_methods_costs_and_what_failed(page: Path) -> None:
    text = html.unescape(text_of(page))
    for told in (
        "Which recommender survives clicks",
        "c0ffeec0ffeec0ff",
        "1,979,173",
        "binary cross-entropy against sampled negatives",
        "the loss became infinite in epoch 3",
        "rec-denoiser study studies/noise.yaml --set 'axes.seed=[1, 2]' --set name=noise\n",
        "last begun 2026-01-02 03:04 UTC, for 13 min · 41 min of training in all",
        "execution.libraries.torch",
        "Gap closed",
    ):
        assert told in text


def test_a_training_that_cells_share_is_counted_once_and_a_file_without_a_name_is_told(tmp_path: Path) -> None:
    result, _ = study(methods=("plain",), ratios=(0.0,), file=None, overrides=())
    twice = replace(result, seconds=4.0, cells=(*result.cells, *result.cells))
    text = html.unescape(text_of(write_report(twice, None, tmp_path)))
    assert "for 4 s · 2 min of training in all" in text  # 63 and 66 s
    assert "rec-denoiser study FILE\n" in text
    assert "FILE stands for the file below, whose name was not kept." in text


def test_a_result_to_hand_on_keeps_the_request_and_not_where_its_file_lies() -> None:
    result, _ = study(methods=("plain",), ratios=(0.0,), file="/home/someone/noise.yaml")
    handed = StudyResult.from_json(result.to_hand_on().to_json())
    assert (handed.file, handed.overrides) == ("noise.yaml", ("axes.seed=[1, 2]", "name=noise"))
    assert replace(result, file="studies/noise.yaml").to_hand_on().file == "studies/noise.yaml"


def test_links_within_the_page_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    idents = re.findall(r'\bid="([^"]+)"', text)
    assert len(set(idents)) == len(idents)
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(idents)
    for names in re.findall(r'aria-labelledby="([^"]+)"', text):
        assert set(names.split()) <= set(idents)


def test_the_files_in_the_page_are_those_beside_it(page: Path) -> None:
    carried = dict(re.findall(r'href="data:[^,]*,([^"]*)" download="([^"]*)"', page.read_text()))
    names = {path.name for path in (page.parent / "tables").iterdir()}
    assert set(carried.values()) == names
    for content, name in carried.items():
        assert unquote(content) == (page.parent / "tables" / name).read_text()


def test_the_same_result_gives_the_same_bytes(tmp_path: Path) -> None:
    written = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        result, ranks = study(methods=("plain", "better"), ratios=(0.0, 0.1), seeds=(1,))
        write_report(result, ranks, folder)
        written.append({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")})
    assert written[0] == written[1]


def test_a_result_survives_its_file(noise: tuple[StudyResult, Ranks], page: Path, tmp_path: Path) -> None:
    read = StudyResult.from_json(noise[0].to_json())
    assert read == noise[0]
    assert write_report(read, None, tmp_path).read_bytes() == page.read_bytes()


def test_hostile_names_are_only_names(tmp_path: Path) -> None:
    result, ranks = study(methods=("plain", "better"), ratios=(0.0, 0.1), seeds=(1,))
    cells = tuple(
        replace(cell, method=HOSTILE if cell.method == "better" else cell.method, dataset=HOSTILE, label=HOSTILE)
        for cell in result.cells
    )
    hostile = replace(
        result,
        name=HOSTILE,
        question=HOSTILE,
        cells=cells,
        spec={HOSTILE: HOSTILE},
        code={HOSTILE: HOSTILE},
        datasets=tuple(replace(dataset, name=HOSTILE) for dataset in result.datasets),
    )
    page = write_report(analysed(hostile, ranks, resamples=RESAMPLES), None, tmp_path)
    text = page.read_text()
    assert "<script>alert" not in text
    assert len(re.findall(r"<script", text)) == 2  # the page's own
    assert "\x00" not in text
    assert list(drawings(text))
    balanced((tmp_path / "tables" / "comparison.tex").read_text())
    row = next(line for line in (tmp_path / "tables" / "comparison.md").read_text().splitlines() if "alert" in line)
    assert len(re.findall(r"(?<!\\)\|", row)) == 10  # nine columns


RESULTS = PROJECT_ROOT / "studies" / "results"


def committed() -> list[Path]:
    """The shipped results that are a study's, by the two fields that nothing else has."""
    return [
        path for path in sorted(RESULTS.glob("*.json")) if {"reference", "cells"} <= json.loads(path.read_text()).keys()
    ]


def test_every_shipped_study_is_read_and_has_a_page(tmp_path: Path) -> None:
    names = [path.stem for path in committed()]
    assert len(names) >= 16
    assert {"denoise-softmax-ml-100k", "noisy-histories-ml-100k", "quick"} <= set(names)
    for path in committed():
        read = StudyResult.from_json(path.read_text())
        assert StudyResult.from_json(read.to_json()) == read
        page = write_report(read, None, tmp_path / path.stem).read_text()
        assert '<section id="results">' in page
        assert not re.search(r'<div class="panels"></div>', page)


def test_a_study_whose_cells_all_failed_still_has_a_page(tmp_path: Path) -> None:
    result, ranks = study(methods=("plain",), ratios=(0.0,), seeds=(1,))
    failed = replace(result.cells[0], status="failed", failure="no memory was left", ranks=None, metrics={})
    text = write_report(replace(result, cells=(failed,)), ranks, tmp_path).read_text()
    assert "nothing to compare" in text
    assert "no memory was left" in text


def test_paper_has_nothing_to_press() -> None:
    style = Path(shell.__file__).with_name("style.css").read_text()
    printed = style.partition("@media print {")[2]
    (hidden,) = re.findall(r"([^{}]+)\{ display: none; \}", printed)
    assert {name.strip() for name in hidden.split(",")} >= {"#theme", "nav", ".files", ".skip", ".arrow"}


def test_paper_is_light_whatever_the_screen_is(page: Path) -> None:
    style = page.read_text().partition("<style>")[2].partition("</style>")[0]
    of_media = re.findall(r"@media ([^{]*) \{((?:[^{}]*\{[^{}]*\})*)\s*\}", style)
    dark = [media for media, rules in of_media if "color-scheme: dark;" in rules]
    assert dark == ["screen and (prefers-color-scheme: dark)", "screen"]
    assert style.count("color-scheme: dark;") == len(dark)


def test_figures_follow_the_theme(page: Path) -> None:
    text = page.read_text()
    for drawing in re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL):
        assert not re.search(r'(?:fill|stroke|style)="', drawing)  # colours are the style sheet's alone
    assert "prefers-color-scheme: dark" in text
    assert text.count("--c7:") == 3  # light, dark by the system, dark by choice
