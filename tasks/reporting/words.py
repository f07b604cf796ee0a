"""What a study shows, in sentences: what is better under both protocols, what under one only, and what is not."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from tasks.reporting.analysis import FULL, SAMPLED, is_loudest
from tasks.reporting.sights import Sight, interval_words, judged, place_words, sights, signed
from tasks.study.result import StudyResult

SHOWN = 6
"""How many places a sentence names."""


def answer(result: StudyResult) -> list[str]:
    """The answer in a few sentences."""
    found = sights(result)
    if not found:
        return ["No cell of this study was finished, so there is nothing to compare."]
    return [*_best(result, found), *_differences(result, found), *_caveats(result, found)]


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
                f"{protocol} – {against.verdict}"
                for protocol, against in zip(("full ranking", "100 negatives"), pair, strict=True)
                if judged(against) == "○"
            ]
            sentences.append(f"{method} against {sight.reference} ({where}): {'; '.join(told)}.")
    return sentences


def both(sight: Sight, method: str) -> str:
    """A method beside the reference under both protocols, in a few words."""
    pair = sight.against(method)
    if pair is None:
        return "reference"
    return {
        ("▲", "▲"): "better on both",
        ("▼", "▼"): "worse on both",
        ("○", "○"): "not significant on either",
        ("▲", "○"): "better in the full ranking only",
        ("○", "▲"): "better among 100 negatives only",
        ("▼", "○"): "worse in the full ranking only",
        ("○", "▼"): "worse among 100 negatives only",
        ("▲", "▼"): "better in the full ranking, worse among 100 negatives",
        ("▼", "▲"): "worse in the full ranking, better among 100 negatives",
    }[(judged(pair[0]), judged(pair[1]))]


def listed(names: Iterable[str]) -> str:
    """Names as a sentence lists them."""
    held = list(names)
    return " and ".join([", ".join(held[:-1]), held[-1]]) if len(held) > 1 else "".join(held)


def _best(result: StudyResult, found: Sequence[Sight]) -> list[str]:
    """Who is first at the most noise; being first is not the same as being significantly better."""
    loud = [sight for sight in found if is_loudest(result, sight.place) and len(sight.methods) > 1]
    if len(loud) > 4:
        return []
    sentences = []
    for sight in loud:
        tops = []
        for metric in (FULL, SAMPLED):
            row = max(sight.tables[metric].rows, key=lambda row: row.over_users.value or 0.0)
            limits = interval_words(row.over_users)
            tops.append((row.method, f"{row.over_users.value or 0.0:.4f}" + (f", {limits}" if limits else "")))
        (first, full), (second, sampled) = tops
        where = place_words(sight.place, result)
        if first == second:
            told = f"{first} has the highest NDCG@10 under both protocols ({full}; among 100 negatives {sampled})."
        else:
            told = (
                f"{first} has the highest NDCG@10 in the full ranking ({full}), "
                f"{second} the highest among 100 negatives ({sampled}): the two protocols disagree."
            )
        sentences.append(f"At {where}: {told}")
    return sentences


def _differences(result: StudyResult, found: Sequence[Sight]) -> list[str]:
    """One sentence for each method and outcome, the places gathered."""
    held = [
        (method, sight.reference, both(sight, method), sight)
        for sight in found
        for method in sight.methods
        if method != sight.reference
    ]
    if not held:
        return ["There is one method only, so nothing is compared."]
    if all(outcome == "not significant on either" for _, _, outcome, _ in held):
        count = f"{len(held)} comparisons" if len(held) > 1 else "one comparison"
        return [
            f"Nothing here is significant: in {count}, no method differs significantly from "
            f"{listed(dict.fromkeys(reference for _, reference, _, _ in held))} under either protocol."
        ]
    order = {name: number for number, name in enumerate(dict.fromkeys(method for method, _, _, _ in held))}
    ranked = sorted(held, key=lambda entry: (order[entry[0]], entry[1], entry[2]))
    sentences = []
    for (method, reference, outcome), group in groupby(ranked, key=lambda entry: entry[:3]):
        places = [sight for _, _, _, sight in group]
        sentences.append(_outcome(method, reference, outcome, places, result, of=_count(held, method, reference)))
    return sentences


def _outcome(
    method: str, reference: str, outcome: str, places: Sequence[Sight], result: StudyResult, *, of: int
) -> str:
    where = _where(places, result, of=of)
    gains = [pair[0].gain.value for sight in places if (pair := sight.against(method)) is not None]
    values = sorted(value for value in gains if value is not None)
    extent = ""
    if values:
        limits = signed(values[0]) if len(values) == 1 else f"{signed(values[0])} to {signed(values[-1])}"
        extent = f" (NDCG@10 in the full ranking {limits} %)"
    if outcome == "not significant on either":
        return f"{method} is not significantly different from {reference} under either protocol {where}{extent}."
    if outcome.endswith("on both"):
        return f"{method} is significantly {outcome.split()[0]} than {reference} under both protocols {where}{extent}."
    return f"{method} against {reference} {where}: significantly {outcome}{extent}, which counts as no gain here."


def _where(places: Sequence[Sight], result: StudyResult, *, of: int) -> str:
    if len(places) == of and of > 1:
        return f"at all {of} places where both were measured"
    names = [place_words(sight.place, result) for sight in places]
    more = f"; and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"at {'; '.join(names[:SHOWN])}{more}"


def _count(held: Sequence[tuple[str, str, str, Sight]], method: str, reference: str) -> int:
    return sum((method, reference) == (name, other) for name, other, _, _ in held)


def _caveats(result: StudyResult, found: Sequence[Sight]) -> list[str]:
    counts = sorted({len(row.seeds) for sight in found for row in sight.tables[FULL].rows})
    sentences = []
    if counts[0] == 1:
        some = "Each method" if counts[-1] == 1 else "Some methods"
        verb = "was" if counts[-1] == 1 else "were"
        sentences.append(
            f"{some} {verb} trained with one seed, so how much another training would differ is not known."
        )
    failed = sum(cell.status == "failed" for cell in result.cells)
    if failed:
        sentences.append(f"{failed} of {len(result.cells)} cells failed and are missing from all that follows.")
    return sentences
