"""A study's outcome for the terminal: the table, and in words what is not significant."""

from collections.abc import Iterator, Mapping

from tasks.report import HEADINGS
from tasks.reporting.analysis import FULL, METRICS, axis_label, value_label
from tasks.reporting.columns import ruled
from tasks.reporting.sights import over_words
from tasks.reporting.words import collapse_words, not_significant
from tasks.specs import in_percent
from tasks.statistics.comparison import Row
from tasks.study.result import Noise, Place, StudyResult

LEFT = ("Data", "Method", "Verdict")
"""Columns that stand to the left."""

LEGEND = (
    "Test split, means over trainings. NDCG@10 and Hit@10 rank the target in the whole catalogue less the items seen\n"
    "before; s100 ranks it among 100 sampled unseen items. Gain is that of NDCG@10 over {reference}; the verdict is\n"
    "that of a t-test, paired by user, {over},\n"
    "adjusted by Holm over all comparisons of the metric on the dataset."
)


def table(result: StudyResult) -> list[dict[str, str]]:
    """A row a place and method as text cells, the same keys in each."""
    return [
        {
            "Data": place.dataset,
            "Noise": _noise(place.noise),
            **{axis_label(axis): value_label(place.setting.get(axis)) for axis in _axes(result)},
            "Method": row.method,
            **{HEADINGS[metric]: _number(rows[metric].over_seeds.value) for metric in HEADINGS if metric in rows},
            "Gain": _gain(row),
            "Verdict": _verdict(row, reference=reference),
        }
        for place, reference, row, rows in _rows(result)
    ]


def plain(result: StudyResult) -> str:
    """The table in columns, its legend, what is not significant, which gates collapsed, and the cells that failed."""
    rows = table(result)
    legend = LEGEND.format(reference=_reference(result), over=over_words(result))
    parts = [ruled(rows, left=LEFT), "", legend] if rows else []
    unclear = not_significant(result)
    if unclear:
        parts += ["", "Not significant:", *(f"  {sentence}" for sentence in unclear)]
    if collapsed := collapse_words(result):
        parts += ["", collapsed]
    failed = [f"  {cell.label}: {cell.failure}" for cell in result.cells if cell.status == "failed"]
    if failed:
        parts += ["", "Failed:", *failed]
    return "\n".join(parts)


def _rows(result: StudyResult) -> Iterator[tuple[Place, str, Row, Mapping[str, Row]]]:
    """Each place, its reference, and each method there with its row of the leading metric and those of all metrics."""
    by_place: dict[str, tuple[Place, str, dict[str, dict[str, Row]]]] = {}
    for compared in result.comparisons:
        _, _, methods = by_place.setdefault(repr(compared.place), (compared.place, compared.table.reference, {}))
        for row in compared.table.rows:
            methods.setdefault(row.method, {})[compared.table.metric] = row
    for place, reference, methods in by_place.values():
        for rows in methods.values():
            if FULL in rows:
                yield place, reference, rows[FULL], {metric: rows[metric] for metric in METRICS if metric in rows}


def _axes(result: StudyResult) -> list[str]:
    return list(dict.fromkeys(axis for compared in result.comparisons for axis in compared.place.setting))


def _noise(noise: Noise | None) -> str:
    if noise is None:
        return "0%"
    where = "" if noise.where == "both" else f" in {noise.where}"
    return f"{in_percent(noise.ratio)}% {noise.kind}{where}"


def _reference(result: StudyResult) -> str:
    if isinstance(result.reference, str):
        return result.reference
    return ", ".join(f"{axis_label(axis)} {value_label(value)}" for axis, value in result.reference.items())


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _gain(row: Row) -> str:
    gain = row.against.shown_gain.value if row.against is not None else None
    return "–" if gain is None else f"{gain:+.1f}%".replace("-", "−")


def _verdict(row: Row, *, reference: str) -> str:
    if row.against is None:
        return "reference" if row.method == reference else "not compared"
    said = row.against.verdict
    return next(
        (short for start, short in (
            ("significantly better", "better"), ("significantly worse", "worse"), ("not tested", "not tested")
        ) if said.startswith(start)),
        "not significant",
    )  # fmt: skip
