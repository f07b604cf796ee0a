"""Tables and plots for people: the terminal, Prefect's artifacts, MLflow."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from models.engine.metrics import SELECTION_METRIC
from tasks.compare import COMPARED, Row

HEADINGS = {
    "test.full_unseen.ndcg_at_10": "NDCG@10",
    "test.full_unseen.hit_at_10": "Hit@10",
    "test.sampled100.ndcg_at_10": "NDCG@10 s100",
    "test.sampled100.hit_at_10": "Hit@10 s100",
}
LEGEND = (
    "Test split. NDCG@10 and Hit@10 rank the target in the whole catalogue less the items seen before; s100 ranks it "
    "among 100 sampled unseen items. Retention is the share of NDCG@10 kept from the least noisy data: a method that "
    "is worse to begin with can retain more, so read it beside the absolute values."
)


def table(rows: Sequence[Row]) -> list[dict[str, str]]:
    """The comparison as text cells, one dictionary a row, the same keys in each."""
    return [
        {"Method": row.method, "Noise": row.noise}
        | {HEADINGS[name]: _value(row.means[name], row.deviations[name]) for name in COMPARED}
        | {"Retention": "–" if row.retention is None else f"{row.retention:.1%}"}
        for row in rows
    ]


def markdown(rows: Sequence[Row]) -> str:
    """The comparison as a Markdown table with its legend."""
    cells = table(rows)
    names = list(cells[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "|".join(["---", "--:"] + ["--:"] * (len(names) - 2)) + "|"]
    lines += ["| " + " | ".join(row[name] for name in names) + " |" for row in cells]
    return "\n".join(lines) + f"\n\n{LEGEND}\n"


def plain(rows: Sequence[Row]) -> str:
    """The comparison in columns, for a terminal."""
    cells = table(rows)
    widths = {name: max(len(name), *(len(row[name]) for row in cells)) for name in cells[0]}

    def line(row: Mapping[str, str]) -> str:
        return "  ".join(
            row[name].ljust(width) if name == "Method" else row[name].rjust(width) for name, width in widths.items()
        ).rstrip()

    rule = "  ".join("─" * width for width in widths.values())
    return "\n".join([line({name: name for name in widths}), rule, *(line(row) for row in cells)])


def learning_curve(history: Sequence[Mapping[str, Any]], *, title: str, best_epoch: int) -> str:
    """An SVG of the training loss and the validation NDCG@10 by epoch, the chosen epoch marked.

    history: records `{"epoch", "metrics"}`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    loss_axis = figure.subplots()
    value_axis = loss_axis.twinx()
    for axis, name, label, colour in (
        (loss_axis, "train.loss", "training loss", "#4477aa"),
        (value_axis, SELECTION_METRIC, "validation NDCG@10", "#ee6677"),
    ):
        points = [(record["epoch"], record["metrics"][name]) for record in history if name in record["metrics"]]
        axis.plot([epoch for epoch, _ in points], [value for _, value in points], color=colour)
        axis.set_ylabel(label, color=colour)
    loss_axis.axvline(best_epoch, color="#999999", linestyle=":")
    loss_axis.set_xlabel("epoch (dotted: the one that validation chose)")
    loss_axis.set_title(title)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _value(mean: float, deviation: float | None) -> str:
    return f"{mean:.4f}" if deviation is None else f"{mean:.4f} ± {deviation:.4f}"
