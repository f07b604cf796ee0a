"""What an answer rests on, as sentences, as a page and as the numbers beside it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.explain import Event, Explanation, Offer
from tasks.reporting.charts import Caption
from tasks.reporting.grid import Column, Frame, Grid, Item, html
from tasks.reporting.heatmap import Cell, Matrix, heat_map, hue_key
from tasks.reporting.scales import signless
from tasks.reporting.shell import document, links
from tasks.reporting.svg import element, isolated, words
from tasks.wording import counted

if TYPE_CHECKING:
    from torch import Tensor

SHOWN = 30
"""How many places are drawn at most: the newest. The CSV files have all."""

CARRIERS = 3

READING_INFLUENCE = """\
Influence is an intervention: the model is asked again without one event, and what an item’s score loses is what the \
event lent it. Where the history is longer than the model looks back, an older event comes into reach in its place, as \
it would if the event had never been. Influences of several events need not add up to the score.
"""

READING_ATTENTION = """\
Attention is no explanation of its own: it says what the values of a layer were mixed by, not what the answer depends \
on. In each picture a row is the event that looks, and a column the event that is looked at; both run from the oldest \
to the newest, and the last row is the one that the offered items are scored by. Cells that an event may not see are \
not drawn, and count nowhere.
"""


def write_explanation(explanation: Explanation, page: Path) -> list[Path]:
    """Write the page, and beside it `<stem>-influence.csv` and, where the model attended to anything,
    `<stem>-attention.csv`; the paths.
    """
    frames = {f"{page.stem}-influence": _influence_frame(explanation)}
    if explanation.attended is not None:
        frames[f"{page.stem}-attention"] = _attention_frame(explanation)
    files = {f"{name}.csv": frame.csv() for name, frame in frames.items()}
    for name, text in files.items():
        page.with_name(name).write_text(text, encoding="utf-8", newline="\n")
    # The attention of a long history is larger than a page should carry.
    carried = {name: text for name, text in files.items() if name.endswith("-influence.csv")}
    page.write_text(_page(explanation, carried, page.stem), encoding="utf-8", newline="\n")
    return [page, *(page.with_name(name) for name in files)]


def carriers(offer: Offer, seen: Sequence[Event]) -> str:
    """The events that carry an offered item most, with what its score loses without them."""
    held = [(value, event) for value, event in zip(offer.influences, seen, strict=True) if value is not None]
    most = sorted((pair for pair in held if pair[0] > 0), key=lambda pair: -pair[0])[:CARRIERS]
    if not held:
        return "–"
    told = (f"{_named(event, seen)} {_signed(value)}" for value, event in most)
    return ", ".join(told) or "none: no event lends it score"


def influence_note(explanation: Explanation) -> str:
    """What “carried by” means for this answer; nothing where there is nothing to say."""
    if not explanation.seen:
        return ""
    if len(explanation.seen) == 1 and explanation.offers and explanation.offers[0].influences[0] is None:
        return "There is one event alone, and without it nothing to score with: its influence has no number."
    return (
        "Carried by: the events without which the item’s score is lower, and by how much, when the model is asked "
        "again without them. That is an intervention, and not the model’s attention."
    )


def lists_words(explanation: Explanation) -> Iterator[str]:
    """How many items lists leave to be offered; nothing without a list."""
    if explanation.may_be_offered is not None:
        yield f"{counted(explanation.may_be_offered, 'item')} may be offered"


def gate_words(explanation: Explanation) -> Iterator[str]:
    """A sentence for each layer on what its gate leaves open, of the cells that are visible in this history."""
    if not explanation.has_gate:
        yield "The model has no gate: attention is what it is."
        if explanation.neighbour_weight:
            yield "It is the network's alone: nearest neighbours, which have a say beside it, are not attended to."
        return
    for number, layer in enumerate(explanation.layers, start=1):
        keep = "" if layer.mean_keep is None else f", mean keep-probability {layer.mean_keep:.3f}"
        yield f"Layer {number}: {layer.open_share:.1%} of the visible cells are open{keep}"


def _page(explanation: Explanation, files: Mapping[str, str], stem: str) -> str:
    whom = "a history" if explanation.user is None else f"user {isolated(explanation.user)}"
    byline = [explanation.model, *explanation.parts, *lists_words(explanation)]
    opening = (
        words("h1", f"What {whom} is offered, and why")
        + words("p", _summary(explanation), class_="question")
        + words("p", " · ".join(byline), class_="byline")
    )
    sections = [
        ("offered", "What is offered", _offered(explanation) + links(files, f"{stem}-influence")),
        ("history", "The history", html(_history(explanation))),
        ("gate", "The gate", _gate(explanation)),
        ("attention", "Attention", _attention(explanation)),
        ("reading", "How to read it", "".join(words("p", part.strip()) for part in _reading(explanation))),
    ]
    return document(f"Why: {whom}", opening, sections, skip="To what is offered")


def _reading(explanation: Explanation) -> Iterator[str]:
    yield READING_INFLUENCE
    if explanation.attended is not None:
        yield READING_ATTENTION


def _summary(explanation: Explanation) -> str:
    if explanation.basis == "popularity":
        return "The model knows none of these items: what is popular is offered, and rests on no event."
    if not explanation.offers:
        return "The history holds every item that may be offered, so nothing is."
    first = explanation.offers[0]
    told = carriers(first, explanation.seen)
    return f"{isolated(first.item)} comes first. It is carried most by: {told}."


def _offered(explanation: Explanation) -> str:
    seen = explanation.seen
    rows = tuple(
        (
            Item(str(rank), value=rank),
            Item(offer.item),
            Item(signless(f"{offer.score:.4f}"), value=offer.score),
            Item(carriers(offer, seen)),
        )
        for rank, offer in enumerate(explanation.offers, start=1)
    )
    columns = (
        Column("Rank", numeric=True),
        Column("Item", names=True),
        Column("Score", numeric=True),
        Column("Carried by"),
    )
    table = html(Grid("offered", influence_note(explanation) or "By popularity.", columns, rows))
    shown = seen[-SHOWN:]
    values = [value for offer in explanation.offers for value in offer.influences[-SHOWN:] if value is not None]
    if not values:
        return table
    full = max(map(abs, values)) or 1.0
    matrix = Matrix(
        rows=tuple(offer.item for offer in explanation.offers),
        columns=tuple(event.item for event in shown),
        cells=tuple(
            Cell(row, column, value / full, f"{offer.item} without {event.item}: its score loses {_signed(value)}")
            for row, offer in enumerate(explanation.offers)
            for column, (event, value) in enumerate(zip(shown, offer.influences[-SHOWN:], strict=True))
            if value is not None
        ),
    )
    caption = Caption(
        "influence",
        "Influence of each event on each offered item",
        f"{len(matrix.rows)} items by {len(shown)} events; from {_signed(min(values))} to {_signed(max(values))}.",
    )
    heading = f"blue: the event lends the item score, orange: it costs score; fullest {full:.3g}"
    return table + element("div", element("div", heat_map(matrix, caption, heading=heading)), class_="panels wide")


def _history(explanation: Explanation) -> Grid:
    first = explanation.offers[0].influences if explanation.offers else ()
    looked_at = _looked_at(explanation)
    judged = explanation.is_judged

    def row(event: Event) -> tuple[Item, ...]:
        influence = None if event.place is None or not first else first[event.place - 1]
        attended_to = event.attention_place
        attention = None if attended_to is None or not looked_at else looked_at[attended_to - 1]
        return (
            Item("–") if event.place is None else Item(str(event.place), value=event.place),
            Item(event.item),
            Item(event.moment or "–"),
            Item(event.label or "–" if event.is_known else "unknown to the model"),
            *([] if not judged else [Item("–") if event.keep is None else Item(f"{event.keep:.2f}", value=event.keep)]),
            Item("–") if influence is None else Item(_signed(influence), value=influence),
            *([] if not looked_at else [_of_attention(attention)]),
        )

    caption = "Oldest first. Influence is on the item that is offered first. What has no place is not looked back at."
    if looked_at:
        caption += (
            " Attention is what the last position pays the event, after the gate, as the mean over heads and layers."
        )
    if judged:
        caption += " Genuine: how likely the noise model takes the event to be so; what is likelier noise is left out"
        caption += " of what the network reads, and not of what neighbours do." if explanation.neighbour_weight else "."
    return Grid(
        name="history",
        caption=caption,
        columns=(
            Column("Place", numeric=True),
            Column("Item", names=True),
            Column("Time, UTC"),
            Column("Label"),
            *([Column("Genuine", numeric=True)] * judged),
            Column("Influence", numeric=True),
            *([Column("Attention", numeric=True)] * bool(looked_at)),
        ),
        rows=tuple(map(row, explanation.events)),
    )


def _of_attention(share: float | None) -> Item:
    return Item("–") if share is None else Item(f"{share:.3f}", value=share)


def _looked_at(explanation: Explanation) -> list[float]:
    if explanation.attended is None:
        return []
    told: list[float] = explanation.attended.after[:, :, -1].mean((0, 1)).tolist()
    return told


def _gate(explanation: Explanation) -> str:
    seen = explanation.attended
    if seen is None or seen.mask is None:
        return ""
    told = element("ul", (words("li", sentence) for sentence in gate_words(explanation)))
    shown = seen.mask if seen.keep is None else seen.keep
    factors = "factor" if seen.keep is None else "keep-probability"
    full = float(shown.max()) or 1.0 if seen.keep is None else 1.0
    panels = [
        _picture(
            explanation,
            shown[layer, head],
            (shown[layer, head] / full).tolist(),
            closed=seen.mask[layer, min(head, seen.mask.shape[1] - 1)] == 0,
            ident=f"gate-{layer}-{head}",
            title=f"Layer {layer + 1}{_of_head(head, shown.shape[1])}: {factors}",
        )
        for layer in range(len(shown))
        for head in range(shown.shape[1])
    ]
    key = hue_key("0", f"{full:.3g}", closed="closed: attention is multiplied by 0")
    return told + _figure("gate-maps", f"The gate’s {factors} by layer", key, panels)


def _attention(explanation: Explanation) -> str:
    seen = explanation.attended
    if seen is None:
        return ""
    layers, heads = seen.before.shape[:2]
    parts = []
    for layer in range(layers):
        full = float(max(seen.before[layer].max(), seen.after[layer].max())) or 1.0
        panels = []
        for head in range(heads):
            where = f"Layer {layer + 1}, head {head + 1}"
            closed = None if seen.mask is None else seen.mask[layer, min(head, seen.mask.shape[1] - 1)] == 0
            stages: list[tuple[str, Tensor, Tensor | None]] = [("attention", seen.before, None)]
            if seen.mask is not None:
                stages = [("before the gate", seen.before, None), ("after the gate", seen.after, closed)]
            panels += [
                _picture(
                    explanation,
                    values[layer, head],
                    (values[layer, head] / full).sqrt().tolist(),
                    closed=crossed,
                    ident=f"attention-{layer}-{head}-{number}",
                    title=f"{where}: {stage}",
                )
                for number, (stage, values, crossed) in enumerate(stages)
            ]
        key = hue_key(
            "0", f"{full:.3g}, by its square root", closed=None if seen.mask is None else "closed by the gate"
        )
        parts.append(_figure(f"attention-{layer + 1}", f"Layer {layer + 1}", key, panels))
    return "".join(parts)


def _figure(name: str, title: str, key: str, panels: Sequence[str]) -> str:
    grid = element("div", (element("div", panel) for panel in panels), class_="panels")
    return element("figure", element("figcaption", words("h3", title)) + key + grid, id=f"figure-{name}")


def _picture(
    explanation: Explanation,
    values: "Tensor",
    shades: list[list[float]],
    *,
    closed: "Tensor | None",
    ident: str,
    title: str,
) -> str:
    """A map of the newest places; values, shades, closed: [places, places]."""
    seen = explanation.attended
    assert seen is not None
    start = max(0, len(explanation.labels) - SHOWN)
    labels = explanation.labels[start:]
    numbers, visible = values[start:, start:].tolist(), seen.visible[start:, start:].tolist()
    crossed = None if closed is None else closed[start:, start:].tolist()
    cells = tuple(
        Cell(
            row,
            column,
            shades[start + row][start + column],
            f"{labels[row]} looks at {labels[column]}: {numbers[row][column]:.3g}",
            is_closed=crossed is not None and crossed[row][column],
        )
        for row in range(len(labels))
        for column in range(len(labels))
        if visible[row][column]
    )
    last = max(range(len(labels)), key=lambda column: numbers[-1][column])
    caption = Caption(
        ident,
        title,
        f"{len(labels)} places. The last row is greatest at {labels[last]}, {numbers[-1][last]:.3g}.",
    )
    return heat_map(Matrix(labels, labels, cells), caption, heading=title)


def _of_head(head: int, heads: int) -> str:
    return f", head {head + 1}" if heads > 1 else ""


def _influence_frame(explanation: Explanation) -> Frame:
    return Frame(
        ("offered", "rank", "score", "place", "item", "time", "label", "influence"),
        tuple(
            (offer.item, rank, offer.score, event.place, event.item, event.moment, event.label, value)
            for rank, offer in enumerate(explanation.offers, start=1)
            for event, value in zip(explanation.seen, offer.influences, strict=True)
        ),
    )


def _attention_frame(explanation: Explanation) -> Frame:
    """A row for each layer, head and visible cell; keep and mask are empty where there is none."""
    seen = explanation.attended
    assert seen is not None
    heads = seen.before.shape[1]

    def of_heads(values: "Tensor | None") -> list[list[list[list[float | None]]]] | None:
        told: list[list[list[list[float | None]]]] | None
        told = None if values is None else values.expand(-1, heads, -1, -1).tolist()
        return told

    before, after, visible = seen.before.tolist(), seen.after.tolist(), seen.visible.tolist()
    keep, mask = of_heads(seen.keep), of_heads(seen.mask)
    places = range(len(explanation.labels))
    return Frame(
        ("layer", "head", "query_place", "query_item", "key_place", "key_item", "before", "keep", "mask", "after"),
        tuple(
            (
                layer + 1,
                head + 1,
                query + 1,
                explanation.labels[query],
                key + 1,
                explanation.labels[key],
                before[layer][head][query][key],
                None if keep is None else keep[layer][head][query][key],
                None if mask is None else mask[layer][head][query][key],
                after[layer][head][query][key],
            )
            for layer in range(len(before))
            for head in range(heads)
            for query in places
            for key in places
            if visible[query][key]
        ),
    )


def _named(event: Event, seen: Sequence[Event]) -> str:
    """An event's item, with its place where the item is there more than once."""
    alike = sum(other.item == event.item for other in seen)
    name = isolated(event.item)
    return name if alike == 1 else f"{name} (place {event.place})"


def _signed(value: float) -> str:
    return signless(f"{value:.3f}") if value < 0 else f"+{value:.3f}"
