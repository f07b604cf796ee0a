"""Noise detection in a study: its table, its curves, and in words what its figures stand on."""

from collections.abc import Callable, Iterator, Sequence
from statistics import fmean

from tasks.report import DETECTORS
from tasks.reporting.analysis import is_loudest, repetition
from tasks.reporting.charts import Axes, Caption, Line, Point, key, line_chart
from tasks.reporting.drawing import PANELS, Figure, headed, look_of, rest_words
from tasks.reporting.grid import Column, Frame, Grid, Item, Number
from tasks.reporting.sights import noise_words, place_words, setting_words
from tasks.statistics import seeds
from tasks.study.result import Detection, Place, StudyResult

NAME = "noise-detection"
CURVES = "detection"
"""What its table and its figure are called."""

EVERY_KIND = "all"
EVERY_METHOD = "any"
DASH = "–"
EXPLAINED = {
    "own_score": "The own score is how unlikely the trained model finds an interaction beside its user’s others; the "
    "model was trained on the noise that it judges here, so a part of it is learned by heart.",
    "popularity": "Popularity, the rarer the more suspicious, knows no user and is what a detector has to beat.",
    "gate": "A gate is as suspicious of an interaction as it keeps attention from it; one that knows no more than "
    "positions cannot tell items apart, so it is at chance by construction.",
}


SENTENCES = """\
The area under the ROC curve is the probability that an interaction labelled as noise is more suspicious than one that \
is not: 0.5 is chance, whatever the share of noise; average precision by chance is that share.

Judged are the interactions that a training saw ({judged}): neither those of a user that are older than the model’s \
length nor, where only the past is seen, a user’s first, and no target. Unlabelled interactions are taken for genuine, \
so noise that a log had of its own without a label counts against every detector.
"""


def sentences(result: StudyResult) -> list[str]:
    """What the figures mean and what the detectors did not see; none where nothing was detected."""
    if not result.detection:
        return []
    judged = sorted({found.positives + found.negatives for found in result.detection if found.kind is None})
    counts = " to ".join(f"{count:,}" for count in _ends(judged))
    detectors = dict.fromkeys(found.detector for found in result.detection)
    said = SENTENCES.format(judged=counts).strip().split("\n\n")
    return [*said, *(EXPLAINED[name] for name in detectors if name in EXPLAINED)]


def grid(result: StudyResult) -> Grid | None:
    """The table: a row a place, kind of noise, method and detector, means over repetitions."""
    groups = list(_groups(result))
    if not groups:
        return None
    places = [repr(found[0].place) for _, found in groups]
    repeated = repetition(result)
    return Grid(
        name=NAME,
        caption=(
            f"Noise detection on what was trained on: the area under the ROC curve (± 95 % interval over {repeated}s; "
            "beneath it that over users), average precision beside the share of noise that it has by chance, and the "
            "share of noise caught when as many interactions are flagged as there is noise, which over all kinds is "
            "precision and recall in one."
        ),
        columns=(
            Column("Noise"),
            Column("Kind"),
            Column("Method", names=True),
            Column("Detector"),
            Column("AUROC", numeric=True),
            Column("Average precision", numeric=True),
            Column("Caught", numeric=True),
            Column("Noise among judged", numeric=True),
            Column(f"{repeated.capitalize()}s", numeric=True),
        ),
        rows=tuple(_row(method, found, result) for method, found in groups),
        breaks=frozenset(number for number in range(1, len(places)) if places[number] != places[number - 1]),
    )


def frame(result: StudyResult) -> Frame:
    """All numbers of the table, a row a seed."""
    return Frame(
        (
            "dataset",
            "noise",
            "setting",
            "kind",
            "method",
            "detector",
            "seed",
            "positives",
            "negatives",
            "auroc",
            "low_users",
            "high_users",
            "average_precision",
            "caught",
        ),
        tuple(_numbers(found) for found in result.detection),
    )


def roc_curves(result: StudyResult) -> Iterator[Figure]:
    """ROC curves of what detectors take for noise in what methods were trained on: a chart a place, the most noise
    first. None where their points were taken out.
    """
    overall = [found for found in result.detection if found.kind is None and found.false_positive_rates]
    if not overall:
        return
    rows: list[tuple[Number, ...]] = []
    panels = []
    diagonal = Line("", 0, tuple(Point(x, x, None, None, "") for x in (0.0, 1.0)), frozenset(), None)
    places = {repr(curve.place): curve.place for curve in overall}
    loud = sorted(places.values(), key=lambda place: not is_loudest(result, place))
    for number, place in enumerate(loud):
        curves = [curve for curve in overall if curve.place == place]
        by_name: dict[str, list[Detection]] = {}
        for curve in curves:
            by_name.setdefault(_detector_words(curve, curves), []).append(curve)
        look = look_of(result, by_name)
        lines = []
        for name, held in by_name.items():
            for curve in held:
                rates = list(zip(curve.false_positive_rates, curve.true_positive_rates, strict=True))
                points = tuple(Point(x, y, None, None, "") for x, y in rates)
                lines.append(Line(name, look[name], points, frozenset(), None))
                told = (curve.method, curve.detector, curve.seed, curve.auroc, curve.low, curve.high)
                rows += [(place.dataset, noise_words(place.noise), setting_words(place), *told, x, y) for x, y in rates]
        named = [(f"{name}: area {_mean_area(held)}", look[name]) for name, held in by_name.items()]
        where = _place_words(place, result)
        caption = Caption(
            f"detection-{number}",
            f"Noise detection, {where}",
            f"ROC curves. {'; '.join(name for name, _ in named)}. The thin diagonal is chance.",
        )
        unit = (0.0, 1.0)
        axes = Axes("share of genuine interactions flagged", "share of noise flagged", x_limits=unit, y_limits=unit)
        if number < PANELS:
            panels.append(headed(where, key(named) + line_chart(lines, caption, axes, rule=diagonal)))
    yield Figure(
        name=CURVES,
        title="ROC curves",
        caption=(
            "A line a detector and training; the area under it is a mean over trainings, with the 95 % interval over "
            "users (of several trainings the mean of theirs, which is rather too wide than too narrow)."
            + rest_words(len(panels), len(loud), "charts")
        ),
        panels=tuple(panels),
        frame=Frame(
            (
                "dataset",
                "noise",
                "setting",
                "method",
                "detector",
                "seed",
                "auroc",
                "low_users",
                "high_users",
                "false_positive_rate",
                "true_positive_rate",
            ),
            tuple(rows),
        ),
    )


def _place_words(place: Place, result: StudyResult) -> str:
    """A place as part of a sentence; what is labelled where nothing was put in is the log's own."""
    told = place_words(place, result)
    return told if place.noise is not None else told.replace("no noise", "the log’s own noise")


def _detector_words(found: Detection, others: Sequence[Detection]) -> str:
    """What a detection's line is called among those of its place: one of popularity alone serves every method that was
    trained on the same interactions.
    """
    name = DETECTORS.get(found.detector, found.detector)
    return name if _serves_all(found, others) else f"{found.method}, {name}"


def _serves_all(found: Detection, others: Sequence[Detection]) -> bool:
    """Whether a detector says the same beside every method of its place and kind of noise, as popularity does where
    they were trained on the same interactions: with a seed the same areas, one a draw of noise.
    """
    areas: dict[tuple[int, str], set[float]] = {}
    for other in others:
        if (other.detector, other.kind) == (found.detector, found.kind):
            areas.setdefault((other.seed, other.method), set()).add(other.auroc)
    by_seed = {(seed, frozenset(held)) for (seed, _), held in areas.items()}
    return found.detector == "popularity" and len(by_seed) == len({seed for seed, _ in by_seed})


def _mean_area(held: Sequence[Detection]) -> str:
    """The mean area over trainings with its interval over users."""
    limits = _limits(held)
    return f"{fmean(found.auroc for found in held):.3f}" + (f" ({limits})" if limits else "")


def _groups(result: StudyResult) -> Iterator[tuple[str, list[Detection]]]:
    """What differs in its seed alone, with its method; of a detector that serves every method of its place once."""
    places: dict[str, list[Detection]] = {}
    for found in result.detection:
        places.setdefault(repr(found.place), []).append(found)
    for others in places.values():
        groups: dict[tuple[str, str | None, str], dict[str, list[Detection]]] = {}
        for found in others:
            method = EVERY_METHOD if _serves_all(found, others) else found.method
            own = groups.setdefault((method, found.kind, found.detector), {})
            own.setdefault(found.method, []).append(found)
        for (method, _, _), by_method in groups.items():
            yield method, max(by_method.values(), key=len)


def _row(method: str, held: Sequence[Detection], result: StudyResult) -> tuple[Item, ...]:
    first = held[0]
    areas = _by_seed(held)
    over = seeds.mean(areas)
    value = over.value or 0.0
    half = f" ± {(over.high - over.low) / 2.0:.3f}" if over.low is not None and over.high is not None else ""
    share = fmean(found.positives / (found.positives + found.negatives) for found in held)
    noise = first.place.noise
    return (
        Item(_place_words(first.place, result), value=noise.ratio if noise else 0.0),
        Item(first.kind or EVERY_KIND),
        Item(method),
        Item(DETECTORS.get(first.detector, first.detector)),
        Item(f"{value:.3f}{half}", value=value, note=_limits(held)),
        _mean([found.average_precision for found in held], "{:.3f}".format),
        _mean([found.caught for found in held], _percent),
        Item(_percent(share), value=share),
        Item(str(len(areas)), value=len(areas)),
    )


def _by_seed(held: Sequence[Detection]) -> list[float]:
    """The areas of repetitions: of each seed the mean over its draws of noise; with one seed alone, of each draw."""
    areas: dict[int, list[float]] = {}
    for found in held:
        areas.setdefault(found.seed, []).append(found.auroc)
    return [fmean(own) for own in areas.values()] if len(areas) > 1 else [found.auroc for found in held]


def _numbers(found: Detection) -> tuple[Number, ...]:
    return (
        found.place.dataset,
        noise_words(found.place.noise),
        setting_words(found.place),
        found.kind or EVERY_KIND,
        found.method,
        found.detector,
        found.seed,
        found.positives,
        found.negatives,
        found.auroc,
        found.low,
        found.high,
        found.average_precision,
        found.caught,
    )


def _limits(held: Sequence[Detection]) -> str:
    """The mean limits of the seeds' intervals over users: a mean of seeds spreads no more than they do on average."""
    limits = [(found.low, found.high) for found in held if found.low is not None and found.high is not None]
    if len(limits) < len(held):
        return ""
    return f"{fmean(low for low, _ in limits):.3f} to {fmean(high for _, high in limits):.3f}"


def _mean(values: Sequence[float | None], form: Callable[[float], str]) -> Item:
    known = [value for value in values if value is not None]
    return Item(form(fmean(known)), value=fmean(known)) if len(known) == len(values) else Item(DASH)


def _percent(share: float) -> str:
    return f"{100.0 * share:.1f} %"


def _ends(values: Sequence[int]) -> Sequence[int]:
    return values if len(values) < 2 else (values[0], values[-1])
