"""What a study would do, said before it does anything: its cells, what of them is done already, time and memory."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tasks.data_specs import NO_FILTER, CorruptSpec, FilterSpec, PrepareSpec, SourceSpec
from tasks.errors import InputError
from tasks.execution import Execution
from tasks.filter import filter_key
from tasks.home import Home
from tasks.machine import side_by_side
from tasks.plan import Data, cell_of, corrupt_key, corruptions, ingest_key, refuse_untimed
from tasks.progress import duration
from tasks.receipts import holds, outputs
from tasks.reporting.columns import ruled
from tasks.snapshots import Snapshot, open_snapshot
from tasks.sources.fetch import Kept, Remote, kept
from tasks.sources.shelved import shelved
from tasks.sources.source import is_here, obtain_log
from tasks.specs import CellSpec
from tasks.splits import refuse_unranked
from tasks.study.costs import Cost, rates
from tasks.study.expand import Study, StudyCell
from tasks.study.outcome import RESULT_FILE, Earlier, of_other_settings, study_folder
from tasks.study.result import StudyResult

GUESSED = "         (the sizes of logs that are not here yet are guessed from what is known of them)"
NOT_READ = "not known before the data is read"


@dataclass(frozen=True)
class Foreseen:
    """A cell of a study. `trained` and `ranked` say what is done already, None where its log is not there yet; `cost`
    what it takes, None where nothing is known of the log. `shares`: another cell of the study makes the same training.
    `failure`: why its log cannot be used; the study is made of the other cells.
    """

    cell: StudyCell
    trained: bool | None = None
    ranked: bool | None = None
    cost: Cost | None = None
    shares: bool = False
    failure: str | None = None

    @property
    def to_do(self) -> bool:
        return not self.trained and not self.shares


def foreseen(study: Study, execution: Execution, *, home: Home) -> tuple[Foreseen, ...]:
    """Every cell, as far as can be known without reading, fetching or making anything.

    Raises `InputError` where no cell has a log that can be used.
    """
    known = rates(home)
    snapshots = Snapshots(home)
    seen: set[str] = set()
    told: list[Foreseen] = []
    failures: list[InputError] = []
    for cell in study.cells:
        try:
            clean, trained_on, histories = snapshots.of(cell.spec)
        except InputError as failure:
            failures.append(failure)
            told.append(Foreseen(cell, failure=str(failure)))
            continue
        if clean is None:
            key = _training_of(cell.spec)
            told.append(Foreseen(cell, cost=known.guess(cell.spec, execution), shares=key in seen))
            seen.add(key)
            continue
        # What is not made yet cannot have been trained on, and is as large as what it is made of, or nearly so.
        planned = cell_of(cell.spec, Data(clean, trained_on or clean, histories or clean), execution)
        key = planned.train_key
        if trained_on is None:
            put_in, _ = corruptions(cell.spec.noise)
            key += corrupt_key(clean, put_in) + cell.spec.filter.model_dump_json()
        told.append(
            Foreseen(
                cell,
                trained=trained_on is not None and holds(planned.train_key, home=home),
                ranked=None not in (trained_on, histories) and holds(planned.evaluate_key, home=home),
                cost=known.cost(planned, execution),
                shares=key in seen,
            )
        )
        seen.add(key)
    if len(failures) == len(study.cells):
        raise failures[0]
    return tuple(told)


def _training_of(spec: CellSpec) -> str:
    """What cells have in common that share a training, by their specs alone."""
    put_in, _ = corruptions(spec.noise)
    unread = {"noise": put_in, "method": "any", "model": spec.model.effective()}
    # The source as it is: written out, an address loses its query, which may choose the file.
    return repr(spec.model_dump(mode="json") | unread | {"source": spec.source})


def describe(study: Study, cells: Iterable[Foreseen], execution: Execution, *, home: Home) -> Iterator[str]:
    """The cells and the sums as lines for a terminal, and which earlier result of the study's name would be kept."""
    cells = list(cells)
    can_be = [cell for cell in cells if cell.failure is None]
    yield f"{study.spec.name}: {study.spec.question}"
    yield ""
    yield from _table(study, cells).split("\n")
    yield ""
    for note in study.notes:
        yield f"Note: {note}"
    held = study_folder(study.spec.name, home=home) / RESULT_FILE
    yield from kept_words(of_other_settings(StudyResult, study.spec.model_dump(mode="json"), held))
    for failure in dict.fromkeys(cell.failure for cell in cells if cell.failure is not None):
        yield f"Left out: {failure}"
    yield from _sums(study, can_be, execution)


def as_json(cells: Iterable[Foreseen]) -> list[dict[str, Any]]:
    """The cells as JSON."""
    return [
        {
            "axes": each.cell.axes,
            "label": each.cell.label,
            "trained": each.trained,
            "ranked": each.ranked,
            "seconds": each.cost.seconds if each.cost else None,
            "memory_bytes": each.cost.memory_bytes if each.cost else None,
            "measured": each.cost.measured if each.cost else None,
            "guessed": each.cost.guessed if each.cost else None,
            "failure": each.failure,
        }
        for each in cells
    ]


def _table(study: Study, cells: list[Foreseen]) -> str:
    axes = list(dict.fromkeys(axis for cell in study.cells for axis in cell.axes))
    rows = [
        {axis: str(each.cell.axes.get(axis, "–")) for axis in axes}
        | {"state": _state(each), "time": _seconds(each), "memory": _memory(each)}
        for each in cells
    ]
    return ruled(rows, left=list(rows[0]))


def _state(cell: Foreseen) -> str:
    if cell.failure is not None:
        return "no log"
    if cell.trained is None:
        return "?"
    if cell.trained:
        return "trained, ranked" if cell.ranked else "trained"
    return "shared training" if cell.shares else "to do"


def _seconds(cell: Foreseen) -> str:
    if cell.cost is None:
        return "?"
    return about(cell.cost) + duration(cell.cost.seconds) if cell.to_do else "–"


def _memory(cell: Foreseen) -> str:
    return "?" if cell.cost is None else f"{about(cell.cost)}{cell.cost.memory_bytes / 1e9:.1f} GB"


def kept_words(earlier: Earlier | None) -> Iterator[str]:
    """That an earlier result is kept beside the one that there would be, where one is."""
    if earlier is not None:
        yield f"Note: once this has run, {earlier}"


def about(cost: Cost) -> str:
    """What is said before a cost that was guessed."""
    return "about " if cost.guessed else ""


def _sums(study: Study, cells: list[Foreseen], execution: Execution) -> Iterator[str]:
    at_a_time = side_by_side(study.spec.execution, execution)
    known = [(cell, cell.cost) for cell in cells if cell.cost is not None]
    unknown = len(cells) - len(known)
    unread = sum(cell.trained is None for cell in cells)
    trained, ranked = (sum(bool(getattr(cell, what)) for cell in cells) for what in ("trained", "ranked"))
    yield f"Cells:   {len(cells)}; cached: {trained} trained, {ranked} ranked" + (
        f"; of {unread} {NOT_READ}" if unread else ""
    )
    to_do = [cost for cell, cost in known if cell.to_do]
    if unknown:
        yield f"Time, memory: {NOT_READ}" + (" for all cells; the sums below leave these out" if known else "")
    if not known:
        return
    if not to_do:
        yield "Time:    nothing is left to train"
        return
    largest = sorted((cost.memory_bytes for cost in to_do), reverse=True)[:at_a_time]
    seconds = sum(cost.seconds for cost in to_do)
    yield (
        f"Time:    about {duration(max([seconds / at_a_time, *(cost.seconds for cost in to_do)]))} "
        f"with {at_a_time} at a time on {execution.processor}"
    )
    yield f"Memory:  at most {sum(largest) / 1e9:.1f} GB in {len(largest)} processes"
    measured = sum(cost.measured for cost in to_do)
    yield (
        f"Rates:   {measured} of {len(to_do)} trainings by those measured in this state folder, the others by those "
        "that come with the project, of one CPU core"
    )
    if measured < len(to_do):
        yield "         (these count all the epochs that a training may take, though it may stop earlier)"
    if any(cost.guessed for cost in to_do):
        yield GUESSED


class Snapshots:
    """Finds cells' snapshots where the steps that make them are done."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._clean: dict[tuple[SourceSpec, PrepareSpec], Snapshot | None] = {}

    def of(self, spec: CellSpec) -> tuple[Snapshot | None, Snapshot | None, Snapshot | None]:
        """The snapshots of `tasks.plan.Data`, each as far as it is there. Raises as `refuse_unranked` and
        `refuse_untimed` do.
        """
        key = (spec.source, spec.prepare)
        if key not in self._clean:
            self._clean[key] = self._ingested(spec)
        clean = self._clean[key]
        if clean is None:
            return None, None, None
        refuse_unranked(clean)
        refuse_untimed(spec, clean)
        trained_on, histories = (self._made(clean, put_in, spec.filter) for put_in in corruptions(spec.noise))
        return clean, trained_on, histories

    def _made(self, clean: Snapshot, put_in: CorruptSpec, left_out: FilterSpec) -> Snapshot | None:
        noisy = self._left_by(corrupt_key(clean, put_in)) if put_in.ratio else clean
        if noisy is None or left_out.by == NO_FILTER:
            return noisy
        return self._left_by(filter_key(noisy, left_out))

    def _ingested(self, spec: CellSpec) -> Snapshot | None:
        named = shelved(spec.source, spec.prepare, home=self._home)
        if named is not None:
            return named
        if not is_here(spec.source, home=self._home):
            return None
        log = obtain_log(spec.source, home=self._home, fetch=self._kept)
        return self._left_by(ingest_key(log, spec.prepare))

    def _kept(self, remote: Remote) -> Kept:
        found = kept(remote, home=self._home)
        if found is None:
            raise InputError(f"{remote.shown} has not been fetched")
        return found

    def _left_by(self, key: str) -> Snapshot | None:
        left = outputs(key, home=self._home)
        return open_snapshot(left[0]) if left else None
