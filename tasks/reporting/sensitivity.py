"""What a study's comparisons could have found: the smallest gains that it was fit to tell."""

from collections.abc import Iterator, Sequence
from statistics import median

from tasks.reporting.analysis import FULL, PAIR, SAMPLED, repetition
from tasks.reporting.grid import Column, Grid, Item
from tasks.reporting.sights import HEADINGS, Sight, by_dataset, place_words, sights, signed
from tasks.statistics.sensitivity import POWER, Sensitivity
from tasks.study.result import StudyResult

NAME = "sensitivity"
OFTEN = f"{100.0 * POWER:.0f} % of such studies"
NOW = 0
ENDLESS = -1
"""In the place of a number of seeds: those that there are, and any number of them."""
SAID = (5, 10)
"""The numbers of seeds that the answer names, where there are fewer."""
DASH = "–"
NO_LIMIT = (
    f" {DASH}: what users differ in was estimated at nothing beside what {{repeated}}s do, so that no limit is known; "
    "it is not that any gain would be found."
)


def smallest_gains(sight: Sight, metric: str, method: str) -> dict[int, float]:
    """The smallest true gains that are found, in % of the reference, by the number of seeds; that with any number of
    them is 0 where no limit is known (see `Sensitivity`). Nothing where a comparison has no error, or the reference
    nothing that a gain is a share of.
    """
    table, against = sight.tables[metric], sight.row(metric, method).against
    reference = next((row.over_users.value for row in table.rows if row.method == table.reference), None)
    if against is None or against.sensitivity is None or not reference:
        return {}
    return {seeds: 100.0 * found / reference for seeds, found in _differences(against.sensitivity)}


def told(result: StudyResult) -> Iterator[tuple[str, tuple[str, ...]]]:
    """A sentence a dataset and the list that it opens: from what true gain on the median comparison finds it, with the
    seeds that there are and with more; what is 0 for want of a limit is left out.
    """
    repeated = repetition(result)
    for dataset, held in by_dataset(sights(result)):
        full, sampled = (_medians(held, metric) for metric in (FULL, SAMPLED))
        if NOW not in full or NOW not in sampled:
            continue
        told_of = {
            seeds: f"{full[seeds]:.1f} % and {sampled[seeds]:.1f} %"
            for seeds in full
            if full[seeds] and sampled.get(seeds)
        }
        names = {
            NOW: "as it is" if ENDLESS in full else f"as it is, with one {repeated} each, over users alone",
            **{seeds: f"with {seeds} {repeated}s each" for seeds in SAID},
            ENDLESS: f"with any number of {repeated}s",
        }
        if ENDLESS in told_of and len(set(told_of.values())) == 1:
            names = {NOW: f"as it is, and with any number of {repeated}s"}
        opening = (
            f"What was not found on {dataset} may be there all the same. True gains in NDCG@10 from which on the "
            f"median comparison is significant in {OFTEN} (full ranking, and among 100 negatives):"
        )
        yield (
            opening,
            tuple(f"{name}: {told_of[seeds]}" for seeds, name in names.items() if seeds in told_of),
        )


def words(sight: Sight, metric: str, method: str) -> str:
    """What one comparison could have found, as the end of a sentence; "" where that is not known."""
    found = smallest_gains(sight, metric, method)
    return f"a true gain of {found[NOW]:.1f} % would be found in {OFTEN}" if NOW in found else ""


def grid(result: StudyResult) -> Grid | None:
    """A row a place, method and protocol."""
    found = [
        (sight, method, metric, smallest_gains(sight, metric, method))
        for sight in sights(result)
        for method in sight.methods
        for metric in PAIR
    ]
    found = [entry for entry in found if entry[-1]]
    if not found:
        return None
    repeated = repetition(result)
    asked = sorted({seeds for *_, gains in found for seeds in gains if seeds > 0})
    endless = any(ENDLESS in gains for *_, gains in found)
    no_limit = any(gains.get(ENDLESS) == 0.0 for *_, gains in found)
    columns = [NOW, *asked, *([ENDLESS] if endless else [])]
    names = {NOW: "As it is", ENDLESS: f"Any number of {repeated}s"}
    return Grid(
        name=NAME,
        caption=(
            f"From what true gain on, in % of the reference, such a comparison is significant in {OFTEN}: the "
            f"minimum detectable effect, with the {repeated}s that there are, and if both methods had as many as a "
            "column says. The level is that of one comparison among all that are corrected together. Smaller gains "
            f"may be there all the same; what is left with any number of {repeated}s takes more users."
            + ("" if endless else f" Of {repeated}s nothing is known here: it is over users alone.")
            + (NO_LIMIT.format(repeated=repeated) if no_limit else "")
        ),
        columns=(
            Column("Place"),
            Column("Method", names=True),
            Column("Metric"),
            Column("Gain, %", numeric=True),
            *(Column(names.get(seeds, f"{seeds} {repeated}s"), numeric=True) for seeds in columns),
        ),
        rows=tuple(
            (
                Item(place_words(sight.place, result)),
                Item(method),
                Item(HEADINGS[metric]),
                _gain(sight, metric, method),
                *(_smallest(gains.get(seeds)) for seeds in columns),
            )
            for sight, method, metric, gains in found
        ),
        breaks=frozenset(
            number
            for number, (sight, method, *_) in enumerate(found)
            if not number or (sight, method) != found[number - 1][:2]
        ),
    )


def _differences(held: Sensitivity) -> Iterator[tuple[int, float]]:
    yield NOW, held.now
    yield from held.by_seeds
    if held.endless is not None:
        yield ENDLESS, held.endless


def _medians(held: Sequence[Sight], metric: str) -> dict[int, float]:
    """The medians over all comparisons, of those numbers of seeds that all of them have; one without a limit is the
    lowest.
    """
    every = [found for sight in held for method in sight.methods if (found := smallest_gains(sight, metric, method))]
    shared = [seeds for seeds in (every[0] if every else ()) if all(seeds in found for found in every)]
    return {seeds: median(found[seeds] for found in every) for seeds in shared}


def _gain(sight: Sight, metric: str, method: str) -> Item:
    against = sight.row(metric, method).against
    value = None if against is None else against.shown_gain.value
    return Item(DASH) if value is None else Item(signed(value), value=value)


def _smallest(gain: float | None) -> Item:
    return Item(f"{gain:.1f}", value=gain) if gain else Item(DASH)
