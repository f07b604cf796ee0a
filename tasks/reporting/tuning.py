"""A search's page and the files beside it. It shows validation only: test chooses nothing."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

from tasks.reporting.analysis import axis_label, value_label
from tasks.reporting.charts import Axes, Caption, Line, Point, key, line_chart, scatter_chart, style_of
from tasks.reporting.drawing import Figure
from tasks.reporting.grid import Column, Frame, Grid, Item, Number
from tasks.reporting.page import PAGE, UNNAMED, command_of, figure_html, flat_entries, shown, when, write_tables
from tasks.reporting.scales import Tick, log_ticks, span
from tasks.reporting.shell import document, entries
from tasks.reporting.sights import ROUNDING, signed
from tasks.reporting.svg import element, words
from tasks.reporting.tables import datasets
from tasks.reporting.trainings import MEBIBYTE
from tasks.tuning.result import TrialResult, TuneResult
from tasks.tuning.terminal import failures, noted
from tasks.wording import counted

DASH = "–"
METHODS = """\
Every method was allowed the same number of trials, and had fewer only where its space holds no more. The first is the \
method as it comes, so no search can look better only for having left that out; the others were drawn from its space, \
{how}. A trial's value is the mean over its seeds of {metric} at the epoch that validation chose. No experiment was \
tried twice.

Nothing here was measured on test: trials are not ranked there. The best of many trials is partly the luckiest, so its \
value is too high by an unknown amount, and more so the more trials there were.{afterwards}

The budget is a number of trainings. Trainings stop when validation has not risen for a while, and differ in what an \
epoch costs: the table of costs says how equal the budgets were in epochs and in time.
"""
FLATTERED = (
    "These values chose the settings and flatter them. Which method is better is for the study on test with fresh "
    "seeds to say."
)
AFTERWARDS = (
    " The study that was written beside this page trains each method anew at its best settings, with seeds that no "
    "trial had, and compares them on test."
)
DRAWN = {
    "random": "each independently at random",
    "tpe": "at random at first and then by a tree-structured Parzen estimator from what the trials before had shown",
}


def write_tuning_report(result: TuneResult, folder: Path) -> Path:
    """Write `report.html` and `tables/` into `folder`, and give the page's path. The same result, the same bytes."""
    grids = {grid.name: grid for grid in (_best(result), _costs(result), _trials(result), datasets(result.datasets))}
    drawn = [*_so_far(result), *_effects(result)]
    frames = {**{figure.name: figure.frame for figure in drawn}, "trials": _trials_frame(result)}
    files = write_tables(frames, grids, folder)
    page = folder / PAGE
    page.write_text(_page(result, drawn, grids, files), encoding="utf-8", newline="\n")
    return page


def answer(result: TuneResult) -> list[str]:
    """A sentence a method: what was its best, and at which settings."""
    sentences = []
    for method in result.methods:
        best, first = result.best(method), result.of(method.name)[0]
        if best is None or best.value is None:
            sentences.append(f"{method.name}: no trial came to an end.")
        elif best.number == 0:
            sentences.append(f"{method.name}: nothing beat the method as it comes ({best.value:.4f}).")
        else:
            gain = _gain(best, first)
            over = "" if gain is None else f", {signed(gain)} % over its first trial"
            last = len(result.of(method.name)) - 1
            sentences.append(
                f"{method.name}: {best.value:.4f}{over}, in trial {best.number} of 0 to {last}, at "
                f"{_told(best.settings)}."
            )
    return sentences


def _page(result: TuneResult, drawn: Sequence[Figure], grids: Mapping[str, Grid], files: Mapping[str, str]) -> str:
    failed = failures(result)
    sections = [
        ("answer", "The answer", _answer(result)),
        ("results", "Best settings", shown(grids, files, "best")),
        ("figures", "Figures", "".join(figure_html(figure, files) for figure in drawn)),
        ("costs", "Cost", shown(grids, files, "costs")),
        ("trials", "Every trial", shown(grids, files, "trials")),
        ("failed", "Failed trainings", element("ul", (words("li", each) for each in failed)) if failed else ""),
        ("spaces", "What was tried", _spaces(result)),
        ("data", "Data", shown(grids, files, "datasets")),
        ("methods", "How", _how(result)),
        ("again", "Run it again", _again(result)),
    ]
    trainings = [cell for trial in result.trials for cell in trial.cells]
    tried = f"{counted(len(result.trials), 'trial')} of {counted(len(result.methods), 'method')}"
    byline = " · ".join(
        [
            f"{tried}, {counted(len(trainings), 'training')}",
            ", ".join(dict.fromkeys(dataset.name for dataset in result.datasets)),
            *when(result.started, result.seconds, {cell.train_key: cell.figures for cell in trainings}),
        ]
    )
    opening = (
        words("h1", result.name) + words("p", result.question, class_="question") + words("p", byline, class_="byline")
    )
    return document(result.name, opening, sections, skip="To the answer")


def _answer(result: TuneResult) -> str:
    parts = [
        words("p", f"Highest {_short(result.metric)}, of each method:"),
        element("ul", (words("li", sentence) for sentence in answer(result))),
    ]
    parts += [words("p", FLATTERED)] if result.study is not None else []
    notes = noted(result)
    parts += [element("ul", (words("li", note) for note in notes))] if notes else []
    return element("div", parts, class_="answer")


def _best(result: TuneResult) -> Grid:
    rows = []
    for method in result.methods:
        trials, best = result.of(method.name), result.best(method)
        values = [trial.value for trial in trials if trial.value is not None]
        held = [cell.metrics[result.metric] for cell in best.cells] if best else []
        gain = _gain(best, trials[0])
        rows.append(
            (
                Item(method.name),
                Item(_four(best.value), value=best.value, note=_spread(held)) if best else Item(DASH),
                Item(_four(trials[0].value), value=trials[0].value),
                Item(DASH) if gain is None else Item(signed(gain), value=gain),
                Item(_four(median(values)), value=median(values)) if values else Item(DASH),
                Item(_four(min(values)), value=min(values)) if values else Item(DASH),
                Item(str(best.number), value=best.number) if best else Item(DASH),
                Item(f"{len(trials) - len(values)} of {len(trials)}", value=len(trials) - len(values)),
                Item(_told(best.settings) if best else DASH),
            )
        )
    return Grid(
        name="best",
        caption=f"The mean {_short(result.metric)}, over a trial's seeds. First: the method as it comes; median and "
        "lowest: over its trials, which say how much the settings matter.",
        columns=(
            Column("Method"),
            *(
                Column(name, numeric=True)
                for name in ("Best", "First", "Gain, %", "Median", "Lowest", "Trial", "Failed")
            ),
            Column("Settings"),
        ),
        rows=tuple(rows),
    )


def _costs(result: TuneResult) -> Grid:
    rows = []
    for method in result.methods:
        trials, best = result.of(method.name), result.best(method)
        figures = [cell.figures for trial in trials for cell in trial.cells]
        epochs = sum(each.epochs or 0 for each in figures)
        seconds = [each.seconds for each in figures if each.seconds is not None]
        peaks = [each.peak_memory_bytes / MEBIBYTE for each in figures if each.peak_memory_bytes is not None]
        parameters = best.cells[0].figures.parameters if best else None
        rows.append(
            (
                Item(method.name),
                Item(f"{len(figures):,}", value=len(figures)),
                Item(f"{epochs:,}", value=epochs),
                Item(f"{sum(seconds):,.0f}", value=sum(seconds)),
                Item(f"{fmean(seconds):,.1f}", value=fmean(seconds)) if seconds else Item(DASH),
                Item(f"{max(peaks):,.0f}", value=max(peaks)) if peaks else Item(DASH),
                Item(DASH) if parameters is None else Item(f"{parameters:,}", value=parameters),
            )
        )
    threads = result.execution["threads"]
    return Grid(
        name="costs",
        caption=f"What the search took. Seconds are of training, with {threads} thread{'s' * (threads != 1)} each on "
        f"{result.execution['processor']}, side by side; those of a training taken from the cache are of when it was "
        "made. A failed training counts with none.",
        columns=(
            Column("Method"),
            *(
                Column(name, numeric=True)
                for name in ("Trainings", "Epochs", "Seconds", "Seconds each", "Peak MiB", "Parameters of the best")
            ),
        ),
        rows=tuple(rows),
    )


def _trials(result: TuneResult) -> Grid:
    bests = {(method.name, method.best) for method in result.methods}
    return Grid(
        name="trials",
        caption=f"The {_short(result.metric)}, of every trial, and the MLflow runs of its trainings.",
        columns=(
            Column("Method"),
            Column("Trial", numeric=True),
            Column("Value", numeric=True),
            Column("Epochs", numeric=True),
            Column("Settings"),
            Column("Runs"),
        ),
        rows=tuple(
            (
                Item(trial.method),
                Item(str(trial.number), value=trial.number),
                Item(_four(trial.value), value=trial.value, best=(trial.method, trial.number) in bests),
                Item(str(epochs), value=epochs),
                Item(_told(trial.settings)),
                Item(", ".join(cell.mlflow_run for cell in trial.cells)),
            )
            for trial in result.trials
            for epochs in [sum(cell.figures.epochs or 0 for cell in trial.cells)]
        ),
    )


def _trials_frame(result: TuneResult) -> Frame:
    names = list(dict.fromkeys(name for trial in result.trials for name in trial.settings))
    metrics = sorted({name for trial in result.trials for cell in trial.cells for name in cell.metrics})
    columns = ("method", "trial", "seed", "status", *names, "best_epoch", "epochs", "seconds", "mlflow_run", *metrics)
    rows = tuple(
        (
            *(trial.method, trial.number, cell.seed, cell.status),
            *(trial.settings.get(name) for name in names),
            *(cell.figures.best_epoch, cell.figures.epochs, cell.figures.seconds, cell.mlflow_run),
            *(cell.metrics.get(name) for name in metrics),
        )
        for trial in result.trials
        for cell in trial.cells
    )
    return Frame(columns, rows)


def _so_far(result: TuneResult) -> Iterator[Figure]:
    """The best value up to each trial, a line a method."""
    lines, rows = [], []
    for number, method in enumerate(result.methods):
        held = [(trial.number, trial.value) for trial in result.of(method.name) if trial.value is not None]
        tops = list(accumulate((value for _, value in held), max))
        rows += [(method.name, at, value, top) for (at, value), top in zip(held, tops, strict=True)]
        points = tuple(
            Point(float(at), top, None, None, f"{method.name}, up to trial {at}: {top:.4f} (this one {value:.4f})")
            for (at, value), top in zip(held, tops, strict=True)
        )
        if points:
            rises = frozenset(at for at, top in enumerate(tops) if not at or top > tops[at - 1])
            lines.append(Line(method.name, style_of(number), points, rises, method.name))
    if lines:
        told = "; ".join(f"{line.name} from {line.points[0].y:.4f} to {line.points[-1].y:.4f}" for line in lines)
        caption = Caption("so-far", f"Best {result.metric} so far, by trial", told)
        last = max(line.points[-1].x for line in lines)
        step = max(1, math.ceil(last / 8))
        marks = tuple(Tick(float(at), str(at)) for at in range(0, int(last) + 1, step))
        yield Figure(
            name="best-so-far",
            title="Best so far",
            caption="The highest value up to each trial; a marker is a rise. Trial 0 is the method as it comes. A line "
            "that still rises at its end has not been given enough trials.",
            panels=(line_chart(lines, caption, Axes("trial", _short(result.metric), x_ticks=marks)),),
            frame=Frame(("method", "trial", "value", "best_so_far"), tuple(rows)),
        )


def _effects(result: TuneResult) -> Iterator[Figure]:
    """Value by setting, a chart a setting and a point a trial."""
    looks = {method.name: style_of(number) for number, method in enumerate(result.methods)}
    names = list(dict.fromkeys(name for method in result.methods for name in method.space))
    limits = span(trial.value for trial in result.trials if trial.value is not None)
    panels: list[str] = []
    rows: list[tuple[Number, ...]] = []
    for name in names:
        held = [trial for trial in result.trials if name in trial.settings and trial.value is not None]
        if not held:
            continue
        rows += [(name, trial.method, trial.number, trial.settings[name], trial.value) for trial in held]
        is_log = any(name in method.scales for method in result.methods)
        place, marks = _places([trial.settings[name] for trial in held], is_log=is_log)
        points = [
            (
                "",
                looks[trial.method],
                Point(
                    place[repr(trial.settings[name])],
                    trial.value or 0.0,
                    None,
                    None,
                    f"{trial.method}, trial {trial.number}, {axis_label(name)} {value_label(trial.settings[name])}: "
                    f"{trial.value:.4f}",
                ),
            )
            for trial in held
        ]
        caption = Caption(f"effect-{len(panels)}", f"{result.metric} by {name}", f"{len(points)} trials.")
        axes = Axes(f"{axis_label(name)}{', logarithmic' * is_log}", _short(result.metric), marks, y_limits=limits)
        legend = key((method, looks[method]) for method in dict.fromkeys(trial.method for trial in held))
        panels.append(legend + scatter_chart(points, caption, axes))
    if panels:
        yield Figure(
            name="effects",
            title="What each setting does",
            caption="A point a trial. The other settings differ too, so that a chart shows where good trials "
            "lie and not what a setting does by itself.",
            panels=tuple(panels),
            frame=Frame(("setting", "method", "trial", "setting_value", "value"), tuple(rows)),
        )


def _places(values: Sequence[Any], *, is_log: bool) -> tuple[dict[str, float], tuple[Tick, ...] | None]:
    """Where values stand on an axis, and its ticks: numbers by their size, few or other ones side by side. What has no
    logarithm, as the 0 of a method as it comes, stands by itself on the left of what has one.
    """
    distinct = {repr(value): value for value in values}
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in distinct.values())
    place = {text: math.log10(value) for text, value in distinct.items() if numeric and is_log and value > 0}
    if place:
        low, high = min(place.values()), max(place.values())
        apart = (high - low) / 4.0 or 1.0
        others = sorted((text for text in distinct if text not in place), key=lambda text: -distinct[text])
        aside = {text: low - apart * (1 + number) for number, text in enumerate(others)}
        whole = all(isinstance(value, int) for value in distinct.values())
        marks = log_ticks(*span(place.values(), pad=0.1), least=float(whole))
        return place | aside, marks + tuple(Tick(at, value_label(distinct[text])) for text, at in aside.items())
    if numeric and len(distinct) > 6:
        return {text: float(value) for text, value in distinct.items()}, None
    ordered = sorted(distinct.values()) if numeric else sorted(distinct.values(), key=str)
    place = {repr(value): float(number) for number, value in enumerate(ordered)}
    return place, tuple(Tick(float(number), value_label(value)) for number, value in enumerate(ordered))


def _spaces(result: TuneResult) -> str:
    told = (
        (method.name, "; ".join(f"{axis_label(name)} {space}" for name, space in method.space.items()))
        for method in result.methods
    )
    return entries(told, class_="methods")


def _how(result: TuneResult) -> str:
    kind = result.spec["sampler"]["kind"]
    afterwards = "" if result.study is None else AFTERWARDS
    text = METHODS.format(how=DRAWN[kind], metric=result.metric, afterwards=afterwards)
    facts = [("drawn by", result.drawn_by), *flat_entries("sampler", result.spec["sampler"])]
    return "".join(words("p", paragraph) for paragraph in text.strip().split("\n\n")) + entries(facts)


def _again(result: TuneResult) -> str:
    spec = json.dumps(result.spec, ensure_ascii=False, indent=2, sort_keys=True)
    command = command_of("tune", result.file, result.overrides)
    said = "This runs the search again, from the cache"
    if result.study is not None:
        command += f"\nrec-denoiser study {result.study}"
        said += f". The second command compares what it found on test: {result.study} is the file beside this page"
    facts = [*flat_entries("code", result.code), *flat_entries("execution", result.execution)]
    return (
        words(
            "p",
            f"{said}.{UNNAMED if result.file is None else ''}",
        )
        + element("pre", words("code", command))
        + entries(facts)
        + element("details", words("summary", "The search’s file") + element("pre", words("code", spec)))
    )


def _told(settings: Mapping[str, Any]) -> str:
    """Settings in words, each kept on one line."""
    told = (f"{axis_label(name)} {value_label(value)}" for name, value in settings.items())
    return ", ".join(each.replace(" ", "\N{NO-BREAK SPACE}") for each in told)


def _gain(best: TrialResult | None, first: TrialResult) -> float | None:
    """What the best has over the first, in %; None where one of them has no value to compare."""
    if best is None or best.value is None or not first.value:
        return None
    return 100.0 * (best.value / first.value - 1.0)


def _spread(values: Sequence[float]) -> str:
    if len(values) < 2:
        return ""
    if stdev(values) <= ROUNDING:
        return f"the same with each of {len(values)} seeds"
    return f"± {stdev(values):.4f} over {len(values)} seeds (standard deviation)"


def _four(value: float | None) -> str:
    return DASH if value is None else f"{value:.4f}"


def _short(metric: str) -> str:
    split, protocol, name = metric.split(".")
    measure = {"ndcg_at_10": "NDCG@10", "hit_at_10": "Hit@10"}.get(name, name)
    return f"{split} {measure}, {'full ranking' if protocol == 'full_unseen' else '100 negatives'}"
