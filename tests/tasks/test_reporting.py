"""A study's page and its files say what the ranks say, in numbers and in words, and reach for nothing outside."""

import csv
import html
import io
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from models.engine.metrics import PROTOCOLS
from tasks.errors import InputError
from tasks.gates import GateLayer
from tasks.home import Home
from tasks.reporting import shell
from tasks.reporting.analysis import FULL, NOISE_SHARE, SAMPLED, SEED, analysed, ranks_in
from tasks.reporting.detection import grid as detection_grid
from tasks.reporting.figures import figures
from tasks.reporting.grid import Column, Frame, Grid, Item, latex, markdown, records
from tasks.reporting.grid import html as as_html
from tasks.reporting.page import all_tables, write_report
from tasks.reporting.scales import evenly, signless, span, ticks
from tasks.reporting.sights import cells_of, sights
from tasks.reporting.tables import datasets
from tasks.reporting.words import answer, collapse_words, not_significant
from tasks.statistics.comparison import spread_by_method
from tasks.statistics.panel import Scores, align, scores
from tasks.statistics.relative import gaps_closed, retentions
from tasks.statistics.slices import tertile_edges
from tasks.study import terminal
from tasks.study.result import CellResult, Noise, Place, StudyResult
from tests.tasks.study_results import METHODS, USERS, Ranks, detection, study

RESAMPLES = 200
HOSTILE = """<script>alert("x")</script> & 'quoted' | {\\x_1}$%\x00"""


@pytest.fixture(scope="module")
def noise() -> tuple[StudyResult, Ranks]:
    """A study with an oracle, detection and one cell that failed, analysed."""
    result, ranks = study(
        methods=(*METHODS, "oracle"),
        oracle="oracle",
        detection=(detection("better", 0.25, strength=1.9), detection("equal", 0.25, strength=0.0)),
    )
    broken = replace(
        result.cells[-1], status="failed", failure="the loss became infinite in epoch 3", ranks=None, metrics={}
    )
    return analysed(replace(result, cells=(*result.cells[:-1], broken)), ranks, resamples=RESAMPLES), ranks


@pytest.fixture(scope="module")
def page(noise: tuple[StudyResult, Ranks], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(noise[0], None, tmp_path_factory.mktemp("report"))


def table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path)


def drawings(text: str) -> Iterator[ET.Element]:
    """Every SVG of a page, parsed: an error where one is no XML."""
    for found in re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL):
        yield ET.fromstring(found)


def finished(result: StudyResult, method: str, ratio: float) -> list[CellResult]:
    return [c for c in result.cells if c.method == method and c.noise and c.noise.ratio == ratio and c.ranks]


def ndcg(rank: float) -> float:
    return 1.0 / np.log2(rank + 2.0) if rank < 10.0 else 0.0


def hit(rank: float) -> float:
    return float(rank < 10.0)


def by_user(
    result: StudyResult,
    ranks: Ranks,
    method: str,
    ratio: float,
    protocol: str,
    *,
    measure: Callable[[float], float] = ndcg,
) -> "np.ndarray":
    """The measure of each user, meant over seeds: computed here from the ranks alone."""
    cells = finished(result, method, ratio)
    values = [list(map(measure, ranks(cell)[f"rank_{protocol}"].to_numpy(dtype=float))) for cell in cells]
    return np.mean(values, axis=0)


@pytest.mark.parametrize(("metric", "protocol"), [(FULL, "full_unseen"), (SAMPLED, "sampled100")])
def test_the_tables_numbers_are_those_of_the_ranks(
    noise: tuple[StudyResult, Ranks], page: Path, metric: str, protocol: str
) -> None:
    result, ranks = noise
    rows = table(page.parent / "tables" / "comparison.csv")
    for ratio in (0.0, 0.1, 0.25):
        base = by_user(result, ranks, "plain", ratio, protocol)
        for method in METHODS:
            row = rows[(rows.metric == metric) & (rows.method == method) & (rows.noise_ratio == ratio)].iloc[0]
            own = by_user(result, ranks, method, ratio, protocol)
            assert row["mean"] == pytest.approx(own.mean())
            assert row.low_users < own.mean() < row.high_users
            assert row.users == USERS
            if method != "plain":
                assert row.gain_percent == pytest.approx(100.0 * (own.mean() / base.mean() - 1.0))
                assert row.p_over_users == pytest.approx(stats.ttest_rel(own, base).pvalue)
            written = f"{row['mean']:.4f}"
            assert written in page.read_text()
            assert written in (page.parent / "tables" / "comparison.md").read_text()
            assert written in (page.parent / "tables" / "comparison.tex").read_text()


def rng() -> np.random.Generator:
    """That of a study's intervals."""
    return np.random.default_rng(SEED)


def grid_of(result: StudyResult, name: str) -> Grid:
    return next(grid for grid in all_tables(result) if grid.name == name)


def test_the_comparison_shows_what_seeds_move_what_is_kept_and_which_is_the_highest(
    noise: tuple[StudyResult, Ranks],
) -> None:
    result, ranks = noise
    grid, columns = grid_of(noise[0], "comparison"), {"full_unseen": 2, "sampled100": 4}
    for row in grid.rows:
        method, ratio = row[1].text, float(str(row[0].value))
        for protocol, at in columns.items():
            means = {name: by_user(result, ranks, name, ratio, protocol).mean() for name in METHODS}
            assert row[at].best == (means.get(method) == max(means.values())), "the oracle is no rival"
            cells = finished(result, method, ratio)
            seeds = [cell.metrics[f"test.{protocol}.ndcg_at_10"] for cell in cells]
            told = f"{np.mean(seeds):.4f}"
            if len(seeds) == 2:
                told += f" ± {stats.t.ppf(0.975, 1) * np.std(seeds, ddof=1) / 2**0.5:.4f}"
            assert row[at].text == told
        own, base = (by_user(result, ranks, method, at, "full_unseen").mean() for at in (ratio, 0.0))
        assert row[-2].text == (f"{100.0 * own / base:.1f} %" if ratio else "–")
    assert grid.columns[-2].name == "Retention"


def test_the_gap_closed_is_on_three_yardsticks_what_the_ranks_say(noise: tuple[StudyResult, Ranks]) -> None:
    result, ranks = noise
    rows = {(row["Noise"], row["Method"]): row for row in records(grid_of(result, "gap-closed"))}
    assert len(rows) == 6  # two methods between the reference and the oracle at three ratios
    for method in ("better", "equal"):
        for heading, protocol, measure in (
            ("NDCG@10, full ranking", "full_unseen", ndcg),
            ("NDCG@10, 100 negatives", "sampled100", ndcg),
            ("Hit@10, 100 negatives", "sampled100", hit),
        ):
            own, noisy, oracle = (
                by_user(result, ranks, name, 0.25, protocol, measure=measure).mean()
                for name in (method, "plain", "oracle")
            )
            told = rows["25 % replace noise", method][heading]
            assert told.startswith(f"{signless(f'{100.0 * (own - noisy) / (oracle - noisy):.1f}')} % (")


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


def test_kinds_of_noise_are_beside_what_each_leaves() -> None:
    made, ranks = study(methods=("plain", "better"), kinds=("replace", "popular"), ratios=(0.0, 0.25), seeds=(1,))
    grid = grid_of(analysed(made, ranks, resamples=RESAMPLES), "kinds")
    assert [column.name for column in grid.columns] == ["Method", "25 % replace", "25 % popular"]
    of = {
        (cell.method, cell.noise.kind if cell.noise.ratio else None): cell.metrics[FULL]
        for cell in made.cells
        if cell.noise
    }
    for method, *items in grid.rows:
        for kind, item in zip(("replace", "popular"), items, strict=True):
            value = of[method.text, kind]
            assert item.text == f"{value:.4f}"
            assert item.note == f"{100.0 * value / of[method.text, None]:.1f} % kept"
            assert item.best == (method.text == "better")


def test_costs_are_means_over_trainings(noise: tuple[StudyResult, Ranks]) -> None:
    rows = {(row["Place"], row["Method"]): row for row in records(grid_of(noise[0], "costs"))}
    for method in METHODS:
        held = [cell.figures for cell in finished(noise[0], method, 0.25)]
        told = rows["25 % replace noise", method]
        for heading, values, form in (
            ("Seconds", [one.seconds for one in held], "{:.1f}"),
            ("Epochs", [one.epochs for one in held], "{:.1f}"),
            ("Chosen epoch", [one.best_epoch for one in held], "{:.1f}"),
            ("Seconds an epoch", [(one.seconds or 0.0) / (one.epochs or 1) for one in held], "{:.2f}"),
            ("Parameters", [120_000], "120\N{NARROW NO-BREAK SPACE}000"),
            ("Peak MiB", [(one.peak_memory_bytes or 0) / 2**20 for one in held], "{:.0f}"),
        ):
            assert told[heading] == form.format(np.mean(np.array(values, dtype=float)))


def test_effect_sizes_and_other_tests_are_shown_and_are_those_of_the_ranks(
    noise: tuple[StudyResult, Ranks], page: Path
) -> None:
    result, ranks = noise
    rows = table(page.parent / "tables" / "comparison.csv")
    for metric, protocol in ((FULL, "full_unseen"), (SAMPLED, "sampled100")):
        row = rows[(rows.metric == metric) & (rows.method == "better") & (rows.noise_ratio == 0.25)].iloc[0]
        own, base = (by_user(result, ranks, name, 0.25, protocol) for name in ("better", "plain"))
        gains = own - base
        assert row.d_z == pytest.approx(gains.mean() / gains.std(ddof=1))
        assert (row.share_better, row.share_worse) == ((gains > 0).mean(), (gains < 0).mean())
        assert row.superiority == pytest.approx((gains > 0).mean() + row.share_tied / 2)
        assert row.p_wilcoxon == pytest.approx(
            stats.wilcoxon(own, base, zero_method="pratt", correction=False, method="asymptotic").pvalue, rel=0.05
        )
        assert 0.0 < row.p_over_seeds < 1.0
        told = (page.parent / "tables" / "effects.md").read_text()
        assert f"| {signless(f'{row.d_z:+.3f}')} | {signless(f'{row.rank_biserial:+.3f}')} |" in told
        assert f"| {row.p_over_seeds:.3f} |" in told
    text = page.read_text()
    assert '<section id="effects"><h2>Effect sizes and other tests</h2>' in text
    assert "cannot be tested; two are needed" in text  # the oracle lost a seed
    assert "effects.tex" in text


def test_holm_counts_every_comparison_of_a_metric(page: Path) -> None:
    rows = table(page.parent / "tables" / "comparison.csv")
    rows = rows[(rows.metric == FULL) & rows.p_over_users_and_seeds.notna()]
    assert len(rows) == 9  # three methods beside the reference at three ratios
    running, expected = 0.0, {}
    for place, p in enumerate(sorted(rows.p_over_users_and_seeds)):
        running = max(running, min(1.0, (len(rows) - place) * p))
        expected[p] = running
    assert rows.p_holm.tolist() == pytest.approx([expected[p] for p in rows.p_over_users_and_seeds])


def test_how_far_seeds_move_a_figure_is_said(noise: tuple[StudyResult, Ranks]) -> None:
    arms: dict[tuple[str, str], list[float]] = {}
    for cell in noise[0].cells:
        if cell.status == "done":
            arms.setdefault((cell.method, str(cell.noise)), []).append(cell.metrics[FULL])
    variances: dict[str, list[float]] = {}
    for (method, _), values in arms.items():
        if len(values) == 2:
            variances.setdefault(method, []).append(float(np.var(values, ddof=1)))
    moved = np.median([np.mean(own) ** 0.5 for own in variances.values()])
    said = " ".join(str(told) for told in answer(noise[0]))
    assert re.search(rf"From seed to seed a training's NDCG@10 in full ranking on \S+ moves by {moved:.4f} \(", said), (
        said
    )


def test_what_is_better_and_what_is_not_significant_is_said_in_words(noise: tuple[StudyResult, Ranks]) -> None:
    said = " ".join(str(told) for told in answer(noise[0]))
    assert re.search(
        r"Significantly better than plain under both protocols [^:]*: better: in all 3 comparisons, \+", said
    )
    equal = "under either protocol (NDCG@10, full ranking): equal: in all 3 comparisons"
    assert f"Not significantly different from plain {equal}" in said
    assert "At 25 % replace noise: better has the highest" in said  # the oracle is no rival
    assert "1 of 24 cells failed and is missing" in said
    every = not_significant(noise[0])
    assert len(every) == 3
    assert all(sentence.startswith("equal against plain") and "not significant" in sentence for sentence in every)


def test_two_comparisons_are_both() -> None:
    result, ranks = study(methods=("plain", "better"), ratios=(0.0, 0.25), seeds=(1,))
    said = " ".join(map(str, answer(analysed(result, ranks, resamples=RESAMPLES))))
    assert "better: in both comparisons, +" in said


def test_a_study_where_nothing_is_significant_says_so() -> None:
    result, ranks = study(methods=("plain", "equal"), ratios=(0.1,), seeds=(1,))
    said = answer(analysed(result, ranks, resamples=RESAMPLES))
    assert "Nothing here is significant: in one comparison" in said[1].text
    assert said[2].text == (
        "Each method was trained on ml-100k with one seed: how much another would change is not known."
    )


def test_trainings_without_a_second_seed_are_told_whose_spread_is_theirs() -> None:
    result, ranks = study(methods=("plain", "better"), ratios=(0.25,))
    cells = result.cells[:-1]
    assert (cells[-1].method, cells[-1].seed) == ("better", 1)
    said = " ".join(map(str, answer(analysed(replace(result, cells=cells), ranks, resamples=RESAMPLES))))
    assert (
        "Some trainings on ml-100k have no second seed: how much one would change is taken from the others. From seed "
        "to seed a training's NDCG@10"
    ) in said
    assert "Each method" not in said


def test_with_one_seed_nothing_is_said_to_be_over_seeds(tmp_path: Path) -> None:
    result, ranks = study(methods=("plain", "better", "oracle"), ratios=(0.25,), seeds=(1,), oracle="oracle")
    whole = analysed(result, ranks, resamples=RESAMPLES)
    text = html.unescape(write_report(whole, None, tmp_path).read_text())
    in_the_terminal = " ".join(terminal.plain(whole).split())
    for told in (text, in_the_terminal):
        assert "over users and seeds" not in told
    assert "over users and, where any method has several, seeds, adjusted by Holm over all" in in_the_terminal
    for what in ("interval over users", "intervals over users", "t test over users"):
        assert f"{what} and, where any method has several, seeds" in text
    rows = table(tmp_path / "tables" / "comparison.csv")
    assert rows.p_over_users_and_seeds.isna().all()
    assert rows[rows.method != "plain"].p_over_users.notna().all()


def test_a_gain_under_one_protocol_alone_counts_as_none() -> None:
    result, ranks = study(methods=("plain", "better"), ratios=(0.0,))

    def disagreeing(cell: CellResult) -> pd.DataFrame:
        frame = ranks(cell)
        other = ranks(next(c for c in result.cells if c.method == "plain" and c.seed == cell.seed))
        return frame.assign(rank_sampled100=other["rank_sampled100"])

    said = " ".join(str(told) for told in answer(analysed(result, disagreeing, resamples=RESAMPLES)))
    assert "which counts as no gain (NDCG@10, full ranking): better: better, full ranking only" in said
    assert "At no noise: better has the highest NDCG@10 in the full ranking (" in said
    assert "), plain and better the highest among 100 negatives (" in said
    assert "Significantly" not in said


def test_the_page_reaches_for_nothing_outside(page: Path) -> None:
    text = page.read_text()
    assert not re.search(r"https?:", text)
    assert not re.search(r"<script[^>]+src|<link|<img|<iframe|@import|url\(", text)
    links = re.findall(r'href="([^"]*)"', text)
    assert links
    assert all(link.startswith(("#", "data:text/", "data:application/x-tex")) for link in links)
    assert "default-src &#39;none&#39;" in text


def test_the_page_names_data_methods_costs_and_what_failed(page: Path) -> None:
    text = html.unescape(page.read_text())
    for told in (
        "Which recommender survives clicks",
        "c0ffeec0ffeec0ff",
        "1\N{NARROW NO-BREAK SPACE}979\N{NARROW NO-BREAK SPACE}173",
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
    text = html.unescape(write_report(twice, None, tmp_path).read_text())
    assert "for 4 s · 2 min of training in all" in text  # 63 and 66 s
    assert "rec-denoiser study FILE\n" in text
    assert "FILE stands for the file below, whose name was not kept." in text


def test_a_gate_that_collapsed_is_counted_once_however_often_its_training_is_ranked() -> None:
    result, _ = study(methods=("plain", "equal"), ratios=(0.0,))
    shut = [
        replace(cell, figures=replace(cell.figures, collapsed=(cell.method, cell.seed) == ("equal", 2)))
        for cell in result.cells
    ]
    failed = replace(shut[0], status="failed", failure="no memory was left", train_key=None)
    told = collapse_words(replace(result, cells=(*shut, *shut, failed)))
    assert told is not None
    assert told.startswith("The gate of 1 of 4 trainings collapsed")
    assert "(1 of equal)" in told


def test_a_result_to_hand_on_keeps_the_request_and_not_where_its_file_lies() -> None:
    result, _ = study(methods=("plain",), ratios=(0.0,), file="/home/someone/noise.yaml")
    handed = StudyResult.from_json(result.to_hand_on().to_json())
    assert (handed.file, handed.overrides) == ("noise.yaml", ("axes.seed=[1, 2]", "name=noise"))
    assert replace(result, file="studies/noise.yaml").to_hand_on().file == "studies/noise.yaml"


def test_methods_are_told_with_their_own_training_and_not_with_what_all_share(tmp_path: Path) -> None:
    result, _ = study(methods=METHODS, kinds=("replace",))
    own = {"epochs": 60, "learning_rate": 0.0025}
    cells = [
        replace(cell, training=own if cell.method == METHODS[0] else own | {"learning_rate": 0.001})
        for cell in result.cells
    ]
    write_report(replace(result, cells=tuple(cells)), None, tmp_path)
    methods = (tmp_path / "report.html").read_text().split('id="methods"')[1].split("</section>")[0]
    assert methods.count("learning rate 0.0025") == 1
    assert methods.count("learning rate 0.001.") == len(METHODS) - 1
    assert "epochs" not in methods.split("</dl>")[0]


def test_a_methods_sentence_says_what_is_left_out_of_its_log(tmp_path: Path) -> None:
    names = ("plain", "filtered", "either", "oracle", "filtered-oracle")
    result, _ = study(methods=names, ratios=(0.25,), seeds=(1, 2))
    left_out = {"by": "co-occurrence", "below": 0.4, "reach": 8, "folds": 5, "seed": 0}
    cells = [
        replace(
            cell,
            model=result.cells[0].model,
            filter=left_out if "filtered" in cell.method or (cell.method, cell.seed) == ("either", 2) else {},
            taken_out="oracle" in cell.method,
        )
        for cell in result.cells
    ]
    text = html.unescape(write_report(replace(result, cells=tuple(cells)), None, tmp_path).read_text())
    told = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", text.split('id="methods"')[1].split("</section>")[0]))
    opening = "SASRec, trained with binary cross-entropy against sampled negatives"
    rest = "dim 50, length 50"
    by = "filtered by the co-occurrence of items, which leaves out what is genuine with a probability below 0.4"
    known = "the log without what it is told, as an oracle, is noise"
    assert told == {
        "plain": f"{opening}: {rest}.",
        "filtered": f"{opening}, on the log {by}: {rest}, filter reach 8, filter folds 5, filter seed 0.",
        "either": f"{opening}, on the log as it is or on the log {by}: {rest}, "
        "filter reach 8, filter folds 5, filter seed 0.",
        "oracle": f"{opening}, on {known}: {rest}.",
        "filtered-oracle": f"{opening}, on {known}, then {by}: {rest}, filter reach 8, filter folds 5, filter seed 0.",
    }


def test_the_snapshots_say_what_was_left_out_of_them(noise: tuple[StudyResult, Ranks]) -> None:
    clean, noisy = noise[0].datasets[:2]
    assert "Holds" not in records(datasets([clean, noisy]))[0]
    filtered = replace(noisy, filter={"by": "co-occurrence", "below": 0.4, "folds": 1})
    held = records(datasets([clean, noisy, filtered, replace(noisy, taken_out=True)]))
    assert [row["Holds"] for row in held] == [
        "the log as it is",
        "the log as it is",
        "the log filtered by the co-occurrence of items, which leaves out what is genuine with a probability below 0.4",
        "the log without what it is told, as an oracle, is noise",
    ]


def test_links_within_the_page_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    idents = re.findall(r'\bid="([^"]+)"', text)
    assert len(set(idents)) == len(idents)
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(idents)
    for names in re.findall(r'aria-labelledby="([^"]+)"', text):
        assert set(names.split()) <= set(idents)


def test_every_figure_is_xml_with_real_text_and_a_description(page: Path) -> None:
    charts = [chart for chart in drawings(page.read_text()) if chart.get("role") == "img"]
    assert len(charts) >= 14
    for chart in charts:
        assert chart.findtext("title")
        assert chart.findtext("desc")
        assert len(chart.findall(".//text")) > 5
        assert not chart.findall(".//image")


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


def charts_of(page: Path, title: str) -> list[ET.Element]:
    """Those whose title begins so."""
    return [chart for chart in drawings(page.read_text()) if (chart.findtext("title") or "").startswith(title)]


def scale(chart: ET.Element, axis: str) -> Callable[[float], float]:
    """From a value to its place on the drawing, by the chart's own ticks."""
    anchor, below = {"x": ("middle", 0.0), "y": ("end", 4.0)}[axis]
    ticks = [
        (float((text.text or "").replace("−", "-")), float(text.get(axis, 0)) - below)
        for text in chart.findall("g[@class='axes']/text")
        if text.get("text-anchor") == anchor and text.get("class") is None
    ]
    (low, at_low), *_, (high, at_high) = ticks
    return lambda value: at_low + (value - low) / (high - low) * (at_high - at_low)


def corners(path: ET.Element) -> "np.ndarray":
    return np.array([pair.split() for pair in path.get("d", "").strip("MZ").split("L")], dtype=float)


def markers(chart: ET.Element) -> list[tuple[str, float, float, bool]]:
    """Tooltip, middle and whether it is filled."""
    return [
        (point[0].text or "", *corners(point[1]).mean(axis=0), "hollow" not in point[1].get("class", ""))
        for point in chart.findall(".//g[@class='point']")
    ]


def whiskers(chart: ET.Element) -> list["np.ndarray"]:
    return [corners(path) for path in chart.iter("path") if path.get("class", "").startswith("whisker")]


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


def forest(chart: ET.Element, rows: pd.DataFrame, values: "pd.Series[float]", *, filled: "pd.Series[bool]") -> None:
    """Whether markers and whiskers are those of the rows, one under the other; without an interval there is none."""
    across, drawn, intervals = scale(chart, "x"), markers(chart), iter(whiskers(chart))
    for row, value, solid, (tip, x, y, drawn_solid) in zip(rows.itertuples(), values, filled, drawn, strict=True):
        assert tip.startswith(str(row.method))
        assert drawn_solid == solid
        assert x == pytest.approx(across(value), abs=0.05)
        if not np.isnan(row.low):
            expected = np.array([[across(row.low), y], [across(row.high), y]])
            assert next(intervals) == pytest.approx(expected, abs=0.05)
    assert not list(intervals)


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
    text = write_report(result, None, tmp_path).read_text()
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


def test_the_files_in_the_page_are_those_beside_it(page: Path) -> None:
    carried = dict(re.findall(r'href="data:[^,]*,([^"]*)" download="([^"]*)"', page.read_text()))
    names = {path.name for path in (page.parent / "tables").iterdir()}
    assert set(carried.values()) == names
    for content, name in carried.items():
        assert unquote(content) == (page.parent / "tables" / name).read_text()


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
    text = write_report(result, None, tmp_path).read_text()
    drawing = next(figure for figure in figures(result) if figure.name == "detection").panels[0]
    assert drawing.count("popularity: area 0.615") == 2  # in the legend and in the words for who does not see it
    assert f"better, own score: area {np.mean([found.auroc for found in own[:2]]):.3f}" in drawing
    caught, share = np.mean([found.caught for found in own[:2]]), np.mean([found.positives / 2000 for found in own[:2]])
    assert f">{100 * caught:.3g} %<" in text
    assert f">{100 * share:.3g} %<" in text
    areas = [found.auroc for found in own[:2]]
    half = stats.t.ppf(0.975, 1) * np.std(areas, ddof=1) / 2**0.5
    assert f"{np.mean(areas):.3f} ± {half:.3f}" in text
    assert len(table(tmp_path / "tables" / "noise-detection.csv")) == 12


def test_a_noise_model_is_called_so_and_not_as_its_column(noise: tuple[StudyResult, Ranks], tmp_path: Path) -> None:
    judged = replace(detection("better", 0.25, strength=1.0), detector="noise_model")
    write_report(replace(noise[0], detection=(judged,)), None, tmp_path)
    told = (tmp_path / "tables" / "noise-detection.md").read_text()
    assert "| better | noise model |" in told


def test_a_slice_with_a_filled_marker_is_not_taken_for_significant(page: Path) -> None:
    """In the figure of differences a filled marker is a verdict."""
    told = re.sub(r"<[^>]+>", " ", page.read_text().partition('id="figure-slices-popularity')[2].partition("<svg")[0])
    assert "A filled marker is a difference whose interval leaves 0 out, and no verdict" in told


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


def balanced(text: str) -> None:
    """Whether LaTeX would see every group, environment and formula closed, and rows of one width."""
    bare = re.sub(r"\\textbackslash\{\}|\\[&%$#_{}]", "", "\n".join(text.splitlines()[1:]))
    depth = 0
    for sign in bare:
        depth += (sign == "{") - (sign == "}")
        assert depth >= 0
    assert depth == 0
    assert bare.count("$") % 2 == 0
    assert "#" not in bare
    assert "%" not in bare
    assert re.findall(r"\\begin\{(\w+)\}", bare) == re.findall(r"\\end\{(\w+)\}", bare)[::-1]
    widths = {line.count("&") for line in bare.splitlines() if line.endswith(r"\\")}
    assert len(widths) == 1
    spec = re.search(r"\\begin\{tabular\}\{([lr]+)\}", bare)
    assert spec is not None
    assert widths == {len(spec.group(1)) - 1}


def test_latex_tables_are_well_formed(page: Path) -> None:
    files = sorted((page.parent / "tables").glob("*.tex"))
    assert {"comparison.tex", "hits.tex", "gap-closed.tex", "datasets.tex", "failures.tex"} <= {f.name for f in files}
    for file in files:
        balanced(file.read_text())
        assert file.read_text().isascii() or file.name == "failures.tex"


def test_best_values_and_marks_reach_every_form() -> None:
    grid = Grid(
        "t",
        "A | table",
        (Column("Name"), Column("Value", numeric=True)),
        (
            (Item("a_b"), Item("0.5", value=0.5, note="0.4 to 0.6", mark="▲", best=True)),
            (Item("c"), Item("–")),
        ),
        frozenset({0, 1}),
    )
    assert "**0.5▲ (0.4 to 0.6)**" in markdown(grid)
    assert r"a\_b" in latex(grid)
    assert r"\textbf{0.5$^{+}$ (0.4 to 0.6)}" in latex(grid)
    shown = as_html(grid)
    assert "<b>0.5</b>" in shown
    assert "significantly better" in shown
    assert 'data-value="0.5"' in shown
    assert 'data-value=""' in shown  # what has no value is sorted last


def test_learning_curves_are_named_at_their_ends(noise: tuple[StudyResult, Ranks]) -> None:
    (drawn,) = (figure for figure in figures(noise[0]) if figure.name == "learning")
    for panel in drawn.panels:
        chart = next(drawings(panel[panel.index('<svg class="chart"') :]))
        names = [text.findtext("title") for text in chart.findall("text[@class='label']")]
        assert sorted(filter(None, names)) == ["better", "equal", "oracle", "plain"]


def test_every_table_has_rows_of_text_by_heading(noise: tuple[StudyResult, Ranks]) -> None:
    held = {grid.name: records(grid) for grid in all_tables(noise[0])}
    assert held.keys() >= {"comparison", "hits", "gap-closed", "effects", "noise-detection", "costs", "cells"}
    first, better = held["comparison"][:2]
    assert first["Method"] == "plain"
    gains = ("Gain, %", "Gain, % (NDCG@10, 100 negatives)")
    assert all(re.match(r"\+\d+\.\d▲ \(\+", better[name]) for name in gains)
    assert better["Gain, %"] != better["Gain, % (NDCG@10, 100 negatives)"]


def test_csv_keeps_every_digit() -> None:
    text = Frame(("a", "b"), ((0.1 + 0.2, None), ('x,"y"', 3))).csv()
    assert list(csv.reader(io.StringIO(text))) == [["a", "b"], ["0.30000000000000004", ""], ['x,"y"', "3"]]


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


RESULTS = Path(__file__).parents[2] / "studies" / "results"


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


def test_a_figure_whose_points_were_taken_out_is_not_drawn(noise: tuple[StudyResult, Ranks]) -> None:
    layer = GateLayer(0, 0.9, 0.8, (0.9, 0.8))
    cells = [replace(cell, figures=replace(cell.figures, gate=(layer,))) for cell in noise[0].cells]
    result = replace(noise[0], cells=tuple(cells))
    gone = {"detection", "gate", "learning"}
    assert gone <= {figure.name for figure in figures(result)}
    handed = result.to_hand_on()
    assert not gone & {figure.name for figure in figures(handed)}


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


def drawn_anew(result: StudyResult, draws: dict[int, tuple[int, int]]) -> StudyResult:
    """A study whose seeds are taken for pairs of a seed and a draw of noise."""
    cells = []
    for cell in result.cells:
        seed, draw = draws[cell.seed]
        assert cell.noise is not None
        axes = {**cell.axes, "seed": seed, **({"noise.seed": draw} if cell.noise.ratio else {})}
        cells.append(replace(cell, seed=seed, noise=replace(cell.noise, seed=draw), axes=axes))
    return replace(result, cells=tuple(cells))


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


def test_two_methods_that_are_the_same_are_both_first_and_their_difference_has_no_interval() -> None:
    made, ranks = study(methods=("plain", "equal"), ratios=(0.25,))
    of_plain = {cell.seed: cell for cell in made.cells if cell.method == "plain"}
    result = analysed(made, lambda cell: ranks(of_plain[cell.seed]), resamples=RESAMPLES)
    first, none, *_ = map(str, answer(result))
    assert first.startswith("At 25 % replace noise: plain and equal have the highest NDCG@10 under both protocols (")
    assert none.endswith("in one comparison, no method differs significantly from plain under either protocol.")
    assert [row[2].best for row in grid_of(result, "comparison").rows] == [True, True]
    (differences,) = (figure for figure in figures(result) if figure.name == "differences")
    assert "<title>equal: 0.00 %; not significant: the same as plain for every user</title>" in differences.panels[0]


def test_where_the_reference_failed_nothing_is_compared_and_that_is_said(tmp_path: Path) -> None:
    result, ranks = study(ratios=(0.0, 0.25))
    cells = [
        replace(cell, status="failed", failure="no memory was left", ranks=None, metrics={})
        if cell.method == "plain" and cell.noise and cell.noise.ratio
        else cell
        for cell in result.cells
    ]
    whole = analysed(replace(result, cells=tuple(cells)), ranks, resamples=RESAMPLES)
    quiet, noisy = sights(whole)
    assert (quiet.reference, quiet.compared) == ("plain", True)
    assert (noisy.reference, noisy.methods, noisy.compared) == ("plain", ("better", "equal"), False)
    said = " ".join(map(str, answer(whole)))
    assert "plain has no finished training at 25 % replace noise, so nothing is compared there." in said
    assert "equal against better" not in write_report(whole, None, tmp_path).read_text()
    rows = table(tmp_path / "tables" / "comparison.csv")
    assert rows[rows.noise_ratio == 0.25].gain_percent.isna().all()
    assert not rows[rows.noise_ratio == 0.25]["mean"].isna().any()
    assert not any(cut.place.noise for cut in whole.slices)
    verdicts = [(row["Method"], row["Noise"], row["Verdict"]) for row in terminal.table(whole)]
    assert ("plain", "0%", "reference") in verdicts
    assert {verdict for _, noise, verdict in verdicts if noise != "0%"} == {"not compared"}
    nowhere = replace(result, cells=tuple(cell for cell in cells if cell.noise and cell.noise.ratio))
    alone = analysed(nowhere, ranks, resamples=RESAMPLES)
    assert "one method only" not in " ".join(map(str, answer(alone)))
    assert write_report(alone, None, tmp_path).exists()


def test_a_method_that_is_left_alone_by_others_failures_is_not_called_the_only_or_the_best_one() -> None:
    result, ranks = study(methods=("plain", "better"), ratios=(0.25,), seeds=(1, 2))

    def told(*cells: CellResult) -> str:
        return " ".join(map(str, answer(analysed(replace(result, cells=cells), ranks, resamples=RESAMPLES))))

    plain = [cell for cell in result.cells if cell.method == "plain"]
    failed = [
        replace(cell, status="failed", failure="no time stamps", ranks=None, metrics={})
        for cell in result.cells
        if cell.method == "better"
    ]
    left = told(*plain, *failed)
    assert "Only plain has a finished training, so nothing is compared." in left
    assert "2 of 4 cells failed" in left
    assert "There is one method only, so nothing is compared." in told(*plain)
    for said in (left, told(*plain)):
        assert "plain has an NDCG@10 of 0." in said
        assert "highest" not in said


def test_a_study_whose_cells_all_failed_still_has_a_page(tmp_path: Path) -> None:
    result, ranks = study(methods=("plain",), ratios=(0.0,), seeds=(1,))
    failed = replace(result.cells[0], status="failed", failure="no memory was left", ranks=None, metrics={})
    text = write_report(replace(result, cells=(failed,)), ranks, tmp_path).read_text()
    assert "nothing to compare" in text
    assert "no memory was left" in text


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


def test_ticks_are_round_and_within() -> None:
    assert [tick.label for tick in ticks(-0.013, 0.041)] == ["−0.01", "0.00", "0.01", "0.02", "0.03", "0.04"]
    assert [tick.label for tick in ticks(0.0, 1.0)] == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert [tick.label for tick in ticks(20.0, 83.0)] == ["20", "40", "60", "80"]
    for low, high in [(1e-9, 3e-9), (-5.0, 1e6), (0.31, 0.33)]:
        found = [tick.value for tick in ticks(low, high)]
        assert 2 <= len(found) <= 7
        assert min(found) >= low - 1e-9 * abs(low)
        assert max(found) <= high * (1.0 + 1e-9)
    assert span([2.0]) == pytest.approx((1.8, 2.2))
    assert evenly([0.0, 0.001, 0.1])
    assert not evenly([20, 50, 80])
    assert signless("-0.00") == "0.00"
