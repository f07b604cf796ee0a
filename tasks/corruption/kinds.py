"""The table of kinds of noise."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tasks.corruption import bots, burst, delete, insert, popular, replace, sharing, swap
from tasks.corruption.openlog import Edits, OpenLog
from tasks.data_specs import NoiseKind


@dataclass(frozen=True)
class Measure:
    """What a ratio is of.

    amount: from a ratio and the number N of open events to the number of events that are touched or put in
    share: from that number and N to the ratio that it is
    """

    amount: Callable[[float, int], int]
    share: Callable[[int, int], float]


@dataclass(frozen=True)
class Kind:
    """A kind of noise.

    edits: from the log, how many events are to be touched or put in (at least one), and a seed; a pure function
        whose edits for a number contain those for a smaller one. Raises `CannotCorruptError`.
    """

    edits: Callable[[OpenLog, int, int], Edits]
    measure: Measure


TOUCHED = Measure(amount=lambda ratio, events: round(ratio * events), share=lambda count, events: count / events)
"""The share of the open events that are noise (or gone) afterwards, where their number does not grow."""

IN_PAIRS = Measure(amount=lambda ratio, events: 2 * round(ratio * events / 2), share=TOUCHED.share)
"""The same, in whole pairs."""

PUT_IN = Measure(
    amount=lambda ratio, events: round(ratio / (1 - ratio) * events),
    share=lambda count, events: count / (events + count),
)
"""The share of noise among the open events that there are afterwards."""

KINDS: Mapping[NoiseKind, Kind] = {
    "replace": Kind(replace.edits, TOUCHED),
    "popular": Kind(popular.edits, TOUCHED),
    "insert": Kind(insert.edits, PUT_IN),
    "delete": Kind(delete.edits, TOUCHED),
    "swap": Kind(swap.edits, IN_PAIRS),
    "burst": Kind(burst.edits, PUT_IN),
    "sharing": Kind(sharing.edits, PUT_IN),
    "bots": Kind(bots.edits, PUT_IN),
}


@dataclass(frozen=True)
class Plan:
    """The edits for a ratio, the number of events that they touch or put in, and the ratio that this is."""

    edits: Edits
    count: int
    realised_ratio: float


def plan(log: OpenLog, kind: NoiseKind, *, ratio: float, seed: int) -> Plan:
    """What noise of a kind at a ratio (0 to 0.5) changes in `log`.

    The same log and seed give the same edits, and those of a larger ratio contain them: the same events with the
    same noise, the same events put into the same places. Nothing changes where the ratio rounds to no event.

    Raises `CannotCorruptError` where the log does not admit it.
    """
    entry = KINDS[kind]
    count = entry.measure.amount(ratio, log.events)
    if count == 0:
        return Plan(Edits(), 0, 0.0)
    return Plan(entry.edits(log, count, seed), count, entry.measure.share(count, log.events))
