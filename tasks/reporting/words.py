"""What a study shows, in sentences: what is better under both protocols, what under one only, and what is not."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from models.config import NO_GATE
from tasks.reporting import sensitivity
from tasks.reporting.analysis import FULL, PAIR, SAMPLED, is_loudest, repetition, variant
from tasks.reporting.sights import (
    ROUNDING,
    Sight,
    by_dataset,
    interval_words,
    judged,
    leading,
    oracles,
    place_words,
    share_limits,
    sights,
    signed,
)
from tasks.statistics.crossed import SeedSquares, pooled
from tasks.statistics.estimates import Estimate
from tasks.study.result import StudyResult
from tasks.wording import counted

SHOWN = 6
"""How many places a sentence names."""


NEITHER = "not significant"
ONE = "one"
OPENINGS = {
    "better on both": "Significantly better than {} under both protocols (gain in NDCG@10, full ranking):",
    "worse on both": "Significantly worse than {} under both protocols (loss in NDCG@10, full ranking):",
    ONE: "Different from {} under one protocol only or both ways, which counts as no gain (NDCG@10, full ranking):",
    NEITHER: "Not significantly different from {} under either protocol (NDCG@10, full ranking):",
}


@dataclass(frozen=True)
class Statement:
    """A sentence, and the list that it may open."""

    text: str
    items: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join([self.text, "; ".join(self.items)]).rstrip()


def answer(result: StudyResult) -> list[Statement]:
    """The answer in a few sentences."""
    found = sights(result)
    if not found:
        return [Statement("No cell of this study was finished, so there is nothing to compare.")]
    first, last = _best(result, found), _caveats(result, found)
    could = [Statement(text, items) for text, items in sensitivity.told(result)]
    return [*map(Statement, first), *_differences(result, found), *_kept(result, found), *map(Statement, last), *could]


def not_significant(result: StudyResult) -> list[str]:
    """A sentence for each method and place that is not significant under one protocol or both."""
    sentences = []
    for sight in sights(result):
        for method in sight.methods:
            pair = sight.against(method)
            if pair is None or "○" not in map(judged, pair):
                continue
            where = place_words(sight.place, result)
            told = [
                ", ".join(filter(None, [f"{protocol} – {against.verdict}", sensitivity.words(sight, metric, method)]))
                for protocol, metric, against in zip(("full ranking", "100 negatives"), PAIR, pair, strict=True)
                if judged(against) == "○"
            ]
            sentences.append(f"{method} against {sight.reference} ({where}): {'; '.join(told)}.")
    return sentences


def collapse_words(result: StudyResult) -> str | None:
    """A sentence on the trainings whose gate collapsed, and one on those whose items did; None where none did."""
    trainings = {cell.train_key: cell for cell in result.cells if cell.train_key}
    collapsed = [cell for cell in trainings.values() if cell.figures.collapsed]
    gated = Counter(cell.method for cell in collapsed if cell.model.get("gate", NO_GATE) != NO_GATE)
    others = Counter(cell.method for cell in collapsed if cell.model.get("gate", NO_GATE) == NO_GATE)
    told = []
    for by_method, what, remedy in (
        (gated, "gate", "collapsed in a layer or in all, whose attention was all but off ({}): a smaller beta"),
        (others, "item table", "collapsed, whose items had become alike ({}): a lower learning rate"),
    ):
        if by_method:
            names = ", ".join(f"{count} of {method}" for method, count in by_method.items())
            trained = f"The {what} of {by_method.total()} of {counted(len(trainings), 'training')}"
            told.append(f"{trained} {remedy.format(names)} may prevent it.")
    return " ".join(told) or None


def both(sight: Sight, method: str) -> str:
    """A method beside the reference under both protocols, in a few words."""
    pair = sight.against(method)
    if pair is None:
        return "reference" if method == sight.reference else "not compared"
    return {
        ("▲", "▲"): "better on both",
        ("▼", "▼"): "worse on both",
        ("○", "○"): "not significant",
        ("▲", "○"): "better, full ranking only",
        ("○", "▲"): "better, 100 negatives only",
        ("▼", "○"): "worse, full ranking only",
        ("○", "▼"): "worse, 100 negatives only",
        ("▲", "▼"): "better, full ranking; worse, 100 negatives",
        ("▼", "▲"): "worse, full ranking; better, 100 negatives",
    }[(judged(pair[0]), judged(pair[1]))]


def listed(names: Iterable[str]) -> str:
    """Names as a sentence lists them."""
    held = list(names)
    return " and ".join([", ".join(held[:-1]), held[-1]]) if len(held) > 1 else "".join(held)


def _best(result: StudyResult, found: Sequence[Sight]) -> list[str]:
    """Who is first at the most noise; being first is not the same as being significantly better."""
    loud = [sight for sight in found if is_loudest(result, sight.place) and set(sight.methods) - oracles(result)]
    if len(loud) > 4:
        return []
    sentences = []
    for sight in loud:
        tops = []
        for metric in (FULL, SAMPLED):
            first = leading(sight, metric, result)
            over = sight.row(metric, first[0]).over_users
            limits = interval_words(over)
            interval = f", 95 % interval {limits}" if limits else ""
            tops.append((first, f"{over.value or 0.0:.4f}{interval}"))
        (first, full), (second, sampled) = tops
        where, have = place_words(sight.place, result), f"{listed(first)} {'has' if len(first) == 1 else 'have'}"
        if len(set(sight.methods) - oracles(result)) == 1:
            told = f"{have} an NDCG@10 of {full} in the full ranking; among 100 negatives {sampled}."
        elif first == second:
            told = f"{have} the highest NDCG@10 under both protocols ({full}; among 100 negatives {sampled})."
        else:
            told = (
                f"{have} the highest NDCG@10 in the full ranking ({full}), "
                f"{listed(second)} the highest among 100 negatives ({sampled}): the two protocols disagree."
            )
        sentences.append(f"At {where}: {told}")
    return sentences


def _differences(result: StudyResult, found: Sequence[Sight]) -> list[Statement]:
    """One statement for each reference and outcome, an item for each method in it."""
    held = [
        (sight.reference, _kind(both(sight, method)), method, both(sight, method), sight)
        for sight in found
        if sight.compared
        for method in sight.methods
        if method != sight.reference
    ]
    if not held:
        if any(sight.reference not in sight.methods for sight in found):
            return []
        finished = {method for sight in found for method in sight.methods}
        alone = listed(sorted(finished)) if {variant(cell, result) for cell in result.cells} - finished else None
        why = f"Only {alone} has a finished training" if alone else "There is one method only"
        return [Statement(f"{why}, so nothing is compared.")]
    if all(kind == NEITHER for _, kind, _, _, _ in held):
        count = f"{len(held)} comparisons" if len(held) > 1 else "one comparison"
        references = listed(dict.fromkeys(entry[0] for entry in held))
        none = f"no method differs significantly from {references} under either protocol"
        return [Statement(f"Nothing here is significant: in {count}, {none}.")]
    statements = []
    for reference in dict.fromkeys(entry[0] for entry in held):
        for kind, opening in OPENINGS.items():
            groups: dict[tuple[str, str], list[Sight]] = {}
            for other, own, method, outcome, sight in held:
                if (other, own) == (reference, kind):
                    groups.setdefault((method, outcome), []).append(sight)
            items = tuple(
                _item(method, outcome if kind == ONE else "", places, result, of=_count(held, reference, method))
                for (method, outcome), places in groups.items()
            )
            if items:
                statements.append(Statement(opening.format(reference), items))
    return statements


def _kept(result: StudyResult, found: Sequence[Sight]) -> Iterator[Statement]:
    """What the most noise leaves of each method's own value without it, the largest share first; the oracle, which is
    told what is noise, is no rival.
    """
    shares = {repr(held.place): held.retentions for held in result.retained if held.metric == FULL}
    loud = [sight for sight in found if is_loudest(result, sight.place) and repr(sight.place) in shares]
    for sight in loud if len(loud) <= 4 else ():
        kept = {
            entry.method: entry.shown
            for entry in shares[repr(sight.place)]
            if entry.shown.value is not None and entry.method not in oracles(result)
        }
        if kept:
            largest_first = sorted(kept.items(), key=lambda pair: -(pair[1].value or 0.0))
            named = [f"{method}: {_share(share)}" for method, share in largest_first]
            more = [f"and {len(named) - SHOWN} more"] if len(named) > SHOWN else []
            yield Statement(
                f"What {place_words(sight.place, result)} leaves of a method's own NDCG@10 in full ranking, which says "
                "nothing of how high that was (with 95 % intervals; not tested):",
                (*named[:SHOWN], *more),
            )


def _share(share: Estimate) -> str:
    limits = share_limits(share)
    return f"{100.0 * (share.value or 0.0):.1f} %" + (f" ({limits})" if limits else "")


def _kind(outcome: str) -> str:
    return outcome if outcome in OPENINGS else ONE


def _item(method: str, outcome: str, places: Sequence[Sight], result: StudyResult, *, of: int) -> str:
    """A method, where the outcome is its own, and its gains there."""
    gains = [pair[0].shown_gain.value for sight in places if (pair := sight.against(method)) is not None]
    values = sorted(value for value in gains if value is not None)
    extent = " to ".join(signed(value) for value in dict.fromkeys((values[0], values[-1]))) + " %" if values else ""
    return f"{method}: {', '.join(part for part in (outcome, _where(places, result, of=of), extent) if part)}"


def _where(places: Sequence[Sight], result: StudyResult, *, of: int) -> str:
    if len(places) == of and of > 1:
        return "in both comparisons" if of == 2 else f"in all {of} comparisons"
    names = [place_words(sight.place, result) for sight in places]
    more = f"; and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"at {'; '.join(names[:SHOWN])}{more}"


def _count(held: Sequence[tuple[str, str, str, str, Sight]], reference: str, method: str) -> int:
    return sum((other, name) == (reference, method) for other, _, name, _, _ in held)


def _caveats(result: StudyResult, found: Sequence[Sight]) -> list[str]:
    repeated = repetition(result)
    sentences = [told for dataset, held in by_dataset(found) for told in _spread_words(dataset, held, repeated)]
    sentences += filter(None, [_draw_words(result)])
    alone = [sight for sight in found if sight.reference not in sight.methods]
    for reference in dict.fromkeys(sight.reference for sight in alone):
        where = listed(place_words(sight.place, result) for sight in alone if sight.reference == reference)
        sentences.append(f"{reference} has no finished training at {where}, so nothing is compared there.")
    sentences += filter(None, [collapse_words(result)])
    failed = sum(cell.status == "failed" for cell in result.cells)
    if failed:
        missing = "is" if failed == 1 else "are"
        sentences.append(
            f"{failed} of {counted(len(result.cells), 'cell')} failed and {missing} missing from all that follows."
        )
    return sentences


def _draw_words(result: StudyResult) -> str | None:
    """What is not known of noise that was drawn several times, None where every seed has a draw of its own."""
    seeds_of: dict[int | None, set[int]] = {}
    for cell in result.cells:
        if cell.noise is not None and cell.noise.ratio > 0.0:
            seeds_of.setdefault(cell.noise.seed, set()).add(cell.seed)
    if repetition(result) == "draw":
        return (
            "All trainings have the same seed, on several draws of noise: intervals and verdicts count what another "
            "draw would change, and not what another seed would."
        )
    if len(seeds_of) < 2 or max(map(len, seeds_of.values())) < 2:
        return None
    return (
        f"Noise was drawn {len(seeds_of)} times, and several seeds were trained on the same draw: a seed's value is "
        "the mean over its draws, and intervals and verdicts do not count what other draws would change. They do where "
        "every seed has a draw of its own."
    )


def _spread_words(dataset: str, held: Sequence[Sight], repeated: str) -> Iterator[str]:
    """Whether trainings were repeated, and how far repetitions, by seeds or by draws, move a figure of theirs."""
    by_method: dict[str, list[SeedSquares | None]] = {}
    for sight in held:
        for row in sight.tables[FULL].rows:
            by_method.setdefault(row.method, []).append(row.target_squares or row.squares)
    spread = {method: found.largest**0.5 for method, own in by_method.items() if (found := pooled(own)) is not None}
    moved = [one for one in spread.values() if one > ROUNDING]
    still = [method for method, one in spread.items() if one <= ROUNDING]
    counts = {len(row.seeds) for sight in held for row in sight.tables[FULL].rows}
    if counts == {1}:
        yield f"Each method was trained on {dataset} with one {repeated}: how much another would change is not known."
    elif 1 in counts:
        known = "taken from the others" if spread else "not known"
        yield f"Some trainings on {dataset} have no second {repeated}: how much one would change is {known}."
    if moved:
        which = f" of those that another {repeated} changes" if still else ""
        yield (
            f"From {repeated} to {repeated} a training's NDCG@10 in full ranking on {dataset} moves by "
            f"{median(moved):.4f} (standard deviation, of the median method{which}); verdicts and intervals of "
            "differences count that."
        )
    elif still:
        yield (
            f"No method's NDCG@10 in full ranking on {dataset} changes from {repeated} to {repeated}: verdicts and "
            f"intervals are over users alone, and more {repeated}s would say nothing new."
        )
