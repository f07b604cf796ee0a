"""A study's page and the files beside it."""

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.dotted import flat
from tasks.progress import duration
from tasks.reporting import detection, sensitivity, tables
from tasks.reporting.analysis import FULL, Ranks, analysed, noise_of, repetition
from tasks.reporting.drawing import Figure
from tasks.reporting.figures import figures
from tasks.reporting.grid import Column, Frame, Grid, Item, html, latex, markdown
from tasks.reporting.methods import described, own_training
from tasks.reporting.shell import document, entries, links
from tasks.reporting.sights import noise_words, sights
from tasks.reporting.svg import element, words
from tasks.reporting.words import Statement, answer, not_significant
from tasks.study.result import CellResult, Figures, StudyResult
from tasks.wording import counted

PAGE = "report.html"
TABLES = "tables"
UNNAMED = " FILE stands for the file below, whose name was not kept."
SENTENCES = 8
"""How many sentences on what is not significant are shown before the rest is folded away."""

STATISTICS = """\
Every figure is computed from the rank of each test target. The full ranking puts the target among all items that the \
user had not interacted with; “100 negatives” puts it among 100 sampled ones. The two can disagree, so a gain counts \
here only where it holds under both.

Intervals “over users” (BCa bootstrap of whole users, 95 %) say what the same trainings would give for other users; \
intervals “over {repeated}s” (Student’s t, 95 %) say what another {another}. Methods are \
compared with a two-sided t test, paired by user, in which both count: to the error over users comes that of the \
{repeated}s. A method’s spread over {repeated}s is its own over all places of a dataset, drawn towards that of all \
methods as far as they are alike; it widens the intervals of differences, gains and shares. With one {repeated} each \
it is not known, and the test is over users alone. P-values are corrected by Holm over all comparisons of a metric on \
a dataset, at a level of 5 %. What could have been found is told from the same errors and the noncentral t \
distribution, at the level of one comparison among all (Holm’s first step). Effect sizes, Wilcoxon’s test, and the \
tests over users or {repeated}s alone have a table of their own.

Retention is what noise leaves of a method’s own value without noise. A method that is worse to begin with can retain \
more, so read it beside the absolute values.
"""
ANOTHER = {"seed": "training would give on the same data", "draw": "draw of the noise would give"}


def write_report(result: StudyResult, ranks: Ranks | None, folder: Path) -> Path:
    """Write `report.html` and `tables/` into `folder`, and give the page's path. The same result, the same bytes.

    ranks: reads a cell's ranks, for what the result does not hold yet (see `analysis.analysed`); None where it holds
    all that is to be shown.
    """
    whole = result if result.comparisons or ranks is None else analysed(result, ranks)
    drawn = figures(whole)
    grids = _grids(whole)
    frames = _frames(whole, drawn)
    files = write_tables(frames, grids, folder)
    page = folder / PAGE
    page.write_text(_page(whole, drawn, grids, files), encoding="utf-8", newline="\n")
    return page


def write_tables(frames: Mapping[str, Frame], grids: Mapping[str, Grid], folder: Path) -> dict[str, str]:
    """Write what a page shows into `folder/tables/`, numbers as CSV and tables as Markdown and LaTeX; the texts by the
    files' names.
    """
    files = {f"{name}.csv": frame.csv() for name, frame in frames.items()}
    files |= {f"{grid.name}.md": markdown(grid) for grid in grids.values()}
    files |= {f"{grid.name}.tex": latex(grid) for grid in grids.values()}
    (folder / TABLES).mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / TABLES / name).write_text(text, encoding="utf-8", newline="\n")
    return files


def all_tables(result: StudyResult) -> tuple[Grid, ...]:
    """Every table of the page of an analysed result."""
    return (*_grids(result).values(), _cells(result))


def _grids(result: StudyResult) -> dict[str, Grid]:
    held = [
        *tables.comparisons(result),
        *tables.kinds(result),
        *tables.gaps(result),
        tables.offers(result),
        sensitivity.grid(result),
        tables.effects(result),
        detection.grid(result),
        tables.costs(result),
        tables.datasets(result.datasets),
        tables.sources(result),
        tables.failures(result),
    ]
    return {grid.name: grid for grid in held if grid is not None}


def _frames(result: StudyResult, drawn: Iterable[Figure]) -> dict[str, Frame]:
    return {
        "comparison": tables.comparison_frame(result),
        **({detection.NAME: detection.frame(result)} if result.detection else {}),
        **{figure.name: figure.frame for figure in drawn},
        "cells": _cells_frame(result),
    }


def _page(result: StudyResult, drawn: Iterable[Figure], grids: Mapping[str, Grid], files: Mapping[str, str]) -> str:
    sections = [
        ("answer", "The answer", _answer(result)),
        ("results", "Results", shown(grids, files, "comparison", "hits", "kinds", "gap-closed")),
        (
            "figures",
            "Figures",
            "".join(figure_html(figure, files) for figure in drawn if figure.name != detection.CURVES),
        ),
        ("detection", "Noise detection", _detection(result, drawn, grids, files)),
        ("not-significant", "What is not significant", _not_significant(result)),
        ("sensitivity", "What could have been found", shown(grids, files, sensitivity.NAME)),
        ("offers", "What is recommended", shown(grids, files, "offers")),
        ("effects", "Effect sizes and other tests", shown(grids, files, "effects")),
        ("data", "Data", shown(grids, files, "datasets", "sources")),
        ("methods", "Methods", _methods(result)),
        ("costs", "Cost", shown(grids, files, "costs")),
        ("failed", "Failed cells", shown(grids, files, "failures")),
        ("again", "Run it again", _again(result, files)),
    ]
    opening = (
        words("h1", result.name)
        + words("p", result.question, class_="question")
        + words("p", _byline(result), class_="byline")
    )
    return document(result.name, opening, sections, skip="To the answer")


def _byline(result: StudyResult) -> str:
    done = sum(cell.status == "done" for cell in result.cells)
    names = dict.fromkeys(dataset.name for dataset in result.datasets)
    trainings = {cell.train_key: cell.figures for cell in result.cells if cell.train_key}
    parts = [
        f"{done} of {counted(len(result.cells), 'cell')}",
        ", ".join(names),
        *when(result.started, result.seconds, trainings),
    ]
    return " · ".join(part for part in parts if part)


def when(started: str, seconds: float, trainings: Mapping[str, Figures]) -> tuple[str, ...]:
    """When the last start was and how long it took, and what trainings took, cached ones among them; each once."""
    spent = [figures.seconds for figures in trainings.values() if figures.seconds is not None]
    begun = f"last begun {started[:16].replace('T', ' ')} UTC, for {duration(seconds)}"
    return (begun, f"{duration(sum(spent))} of training in all") if spent else (begun,)


def _answer(result: StudyResult) -> str:
    return element("div", map(_statement, answer(result)), class_="answer")


def _statement(statement: Statement) -> str:
    items = element("ul", (words("li", item) for item in statement.items)) if statement.items else ""
    return words("p", statement.text) + items


def _not_significant(result: StudyResult) -> str:
    sentences = not_significant(result)
    if not sentences:
        compared = any(sight.compared for sight in sights(result))
        return words("p", "Every difference to the reference is significant under both protocols.") if compared else ""
    first = element("ul", (words("li", sentence) for sentence in sentences[:SENTENCES]))
    rest = sentences[SENTENCES:]
    if not rest:
        return first
    folded = words("summary", f"{len(rest)} more") + element("ul", (words("li", sentence) for sentence in rest))
    return first + element("details", folded)


def shown(grids: Mapping[str, Grid], files: Mapping[str, str], *names: str) -> str:
    """The tables of these names, and those that are numbered after them, with links to their files."""
    chosen = [grid for name in names for grid in grids.values() if grid.name.rstrip("-0123456789") == name]
    return "".join(html(grid) + links(files, grid.name) for grid in chosen)


def figure_html(figure: Figure, files: Mapping[str, str]) -> str:
    """A figure with its caption and links to its files."""
    panels = element("div", (element("div", panel) for panel in figure.panels), class_="panels")
    caption = element("figcaption", words("h3", figure.title) + words("p", figure.caption))
    return element("figure", caption + panels + links(files, figure.name), id=f"figure-{figure.name}")


def _detection(
    result: StudyResult, drawn: Iterable[Figure], grids: Mapping[str, Grid], files: Mapping[str, str]
) -> str:
    told = "".join(words("p", sentence) for sentence in detection.sentences(result))
    curves = "".join(figure_html(figure, files) for figure in drawn if figure.name == detection.CURVES)
    return told + curves + shown(grids, files, detection.NAME)


def _methods(result: StudyResult) -> str:
    cells: dict[str, list[CellResult]] = {}
    for cell in result.cells:
        cells.setdefault(cell.method, []).append(cell)
    training = own_training(result.cells)
    told = entries(((method, described(held, training=training)) for method, held in cells.items()), class_="methods")
    repeated = repetition(result)
    statistics = STATISTICS.format(repeated=repeated, another=ANOTHER[repeated])
    return told + "".join(words("p", paragraph) for paragraph in statistics.strip().split("\n\n"))


def _again(result: StudyResult, files: Mapping[str, str]) -> str:
    spec = json.dumps(result.spec, ensure_ascii=False, indent=2, sort_keys=True)
    command = f"{command_of('study', result.file, result.overrides)}\nrec-denoiser rerun RUN_ID"
    facts = [*flat_entries("code", result.code), *flat_entries("execution", result.execution)]
    cells = element("details", words("summary", "Every cell with its run") + html(_cells(result)))
    return (
        words(
            "p",
            "The first command runs the whole study again; what is cached is not computed twice. The second runs one "
            "cell again from its MLflow run and says for each metric whether it is the same."
            + (UNNAMED if result.file is None else ""),
        )
        + element("pre", words("code", command))
        + entries(facts)
        + element("details", words("summary", "The study’s file") + element("pre", words("code", spec)))
        + cells
        + links(files, "cells")
    )


def _cells(result: StudyResult) -> Grid:
    return Grid(
        name="cells",
        caption="Every cell.",
        columns=(
            Column("Cell"),
            Column("Noise"),
            Column("Seed", numeric=True),
            Column("Status"),
            Column("NDCG@10, full ranking", numeric=True),
            Column("MLflow run"),
        ),
        rows=tuple(
            (
                Item(cell.label),
                Item(noise_words(noise_of(cell)), value=cell.noise.ratio if cell.noise else 0.0),
                Item(str(cell.seed), value=cell.seed),
                Item(cell.status),
                Item(f"{cell.metrics[FULL]:.4f}", value=cell.metrics[FULL]) if FULL in cell.metrics else Item("–"),
                Item(cell.mlflow_run or ""),
            )
            for cell in result.cells
        ),
    )


def _cells_frame(result: StudyResult) -> Frame:
    """Every cell with its axes, what it cost and all its metrics."""
    axes = list(dict.fromkeys(axis for cell in result.cells for axis in cell.axes))
    metrics = sorted({name for cell in result.cells for name in cell.metrics})
    return Frame(
        (
            "label",
            "dataset",
            "method",
            "noise_kind",
            "noise_ratio",
            "noise_where",
            "noise_seed",
            "seed",
            "status",
            *tuple(f"axis.{axis}" for axis in axes),
            "best_epoch",
            "epochs",
            "seconds",
            "parameters",
            "peak_memory_bytes",
            "train_key",
            "mlflow_run",
            *metrics,
        ),
        tuple(
            (cell.label, cell.dataset, cell.method)
            + ((cell.noise.kind, cell.noise.ratio, cell.noise.where, cell.noise.seed) if cell.noise else (None,) * 4)
            + (cell.seed, cell.status, *(cell.axes.get(axis) for axis in axes))
            + (cell.figures.best_epoch, cell.figures.epochs, cell.figures.seconds, cell.figures.parameters)
            + (cell.figures.peak_memory_bytes, cell.train_key, cell.mlflow_run)
            + tuple(cell.metrics.get(name) for name in metrics)
            for cell in result.cells
        ),
    )


def command_of(name: str, file: str | None, overrides: Sequence[str]) -> str:
    """The command line that asks for a file with what is set over it, quoted for a shell."""
    return shlex.join(["rec-denoiser", name, file or "FILE", *(part for each in overrides for part in ("--set", each))])


def flat_entries(name: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The leaves of nested settings as text, under dotted names that begin with this one."""
    return ((path, str(value)) for path, value in flat(settings, f"{name}."))
