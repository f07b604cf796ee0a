"""What a search would do, said before it does anything: its trials as far as they are known, time and memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tasks.execution import Execution
from tasks.home import Home
from tasks.machine import side_by_side
from tasks.plan import Data, cell_of
from tasks.progress import duration
from tasks.receipts import holds
from tasks.study.costs import Cost, rates
from tasks.study.dryrun import GUESSED, NOT_READ, Snapshots, about, kept_words
from tasks.study.outcome import TUNE_FILE, of_other_settings, study_folder
from tasks.tuning.expand import Tuning
from tasks.tuning.outcome import validation_of
from tasks.tuning.result import TuneResult
from tasks.tuning.search import Search, Trial, mean_or_none
from tasks.tuning.terminal import settings_words
from tasks.wording import counted


@dataclass(frozen=True)
class ForeseenTrial:
    """A trial that is known already. cached: how many of its trainings are done, None where its snapshots are not there
    yet; cost: of one of them, None where nothing is known of the log; value: of the metric, None where one is not done.
    """

    trial: Trial
    cached: int | None = None
    cost: Cost | None = None
    value: float | None = None

    @property
    def to_do(self) -> int:
        return len(self.trial.specs) - (self.cached or 0)


@dataclass(frozen=True)
class ForeseenSearch:
    """A method's trials as far as they are known: what the sampler draws after them depends on what they give.
    `to_come` are so many more, at most.
    """

    method: str
    trials: tuple[ForeseenTrial, ...]
    to_come: int


def foreseen_tuning(tuning: Tuning, execution: Execution, *, home: Home) -> tuple[ForeseenSearch, ...]:
    """Every method's trials, as far as can be known without training anything."""
    known = rates(home)
    snapshots = Snapshots(home)

    def seen(trial: Trial) -> ForeseenTrial:
        clean, trained_on, _ = snapshots.of(trial.specs[0])
        if clean is None:
            return ForeseenTrial(trial, cost=known.guess(trial.specs[0], execution))
        cells = [cell_of(spec, Data(clean, trained_on or clean), execution) for spec in trial.specs]
        cached = [cell for cell in cells if trained_on is not None and holds(cell.train_key, home=home)]
        values = [validation_of(cell, home=home).get(tuning.spec.metric) for cell in cached]
        value = mean_or_none(values) if len(cached) == len(cells) else None
        return ForeseenTrial(trial, len(cached), known.cost(cells[0], execution), value)

    found = []
    for method in tuning.methods:
        search = Search(method, tuning)
        trials: list[ForeseenTrial] = []
        while proposed := [seen(trial) for trial in search.propose()]:
            trials += proposed
            if tuning.spec.sampler.kind == "random":
                continue
            if any(each.to_do for each in proposed):
                break
            for each in proposed:
                search.tell(each.trial, each.value)
        found.append(ForeseenSearch(method.name, tuple(trials), search.to_come))
    return tuple(found)


def describe_tuning(
    tuning: Tuning, searches: tuple[ForeseenSearch, ...], execution: Execution, *, home: Home
) -> Iterator[str]:
    """The trials and the sums as lines for a terminal, which earlier result of the search's name would be kept, and
    where the new one would lie.
    """
    spec = tuning.spec
    folder = study_folder(spec.name, home=home)
    yield f"{spec.name}: {spec.question}"
    yield ""
    for method, search in zip(tuning.methods, searches, strict=True):
        yield method.name
        for name, dimension in method.space.items():
            yield f"  {name:<24} {dimension.described}"
        for each in search.trials:
            usual = ", as it comes" if each.trial.number == 0 else ""
            yield f"  trial {each.trial.number:<3} {_state(each):<18} {settings_words(each.trial.settings)}{usual}"
        if search.to_come:
            yield f"  {search.to_come} more, whose settings depend on what these give"
        yield ""
    for note in tuning.notes:
        yield f"Note: {note}"
    yield from kept_words(of_other_settings(TuneResult, spec.model_dump(mode="json"), folder / TUNE_FILE))
    yield from _sums(tuning, searches, execution)
    yield f"Result:    {folder}"


def tuning_json(searches: tuple[ForeseenSearch, ...]) -> list[dict[str, Any]]:
    """The trials as JSON."""
    return [
        {
            "method": search.method,
            "to_come": search.to_come,
            "trials": [
                {
                    "number": each.trial.number,
                    "settings": each.trial.settings,
                    "trainings": len(each.trial.specs),
                    "cached": each.cached,
                    "seconds": each.cost.seconds if each.cost else None,
                    "memory_bytes": each.cost.memory_bytes if each.cost else None,
                }
                for each in search.trials
            ],
        }
        for search in searches
    ]


def _state(trial: ForeseenTrial) -> str:
    if trial.cost is None:
        return "?"
    if not trial.to_do:
        return "trained"
    return f"{trial.to_do} × {about(trial.cost)}{duration(trial.cost.seconds)}"


def _sums(tuning: Tuning, searches: tuple[ForeseenSearch, ...], execution: Execution) -> Iterator[str]:
    seeds = len(tuning.spec.seeds)
    trials = sum(len(search.trials) + search.to_come for search in searches)
    cached = sum(each.cached or 0 for search in searches for each in search.trials)
    each_method = " and ".join(dict.fromkeys(str(len(held.trials) + held.to_come) for held in searches))
    yield (
        f"Trainings: {trials * seeds}: {counted(len(searches), 'method')} × {each_method} trials × "
        f"{counted(seeds, 'seed')}; cached: {cached}"
    )
    costs = [(each, each.cost) for search in searches for each in search.trials if each.cost is not None]
    if not costs:
        yield f"Time, memory: {NOT_READ}"
        return
    seconds = sum(each.to_do * cost.seconds for each, cost in costs)
    # What is not known yet presumably costs what the method's known trials cost on average.
    for search in searches:
        known = [each.cost.seconds for each in search.trials if each.cost is not None]
        seconds += search.to_come * seeds * sum(known) / len(known)
    at_a_time = side_by_side(tuning.spec.execution, execution)
    if not seconds:
        yield "Time:      nothing is left to train"
        return
    yield f"Time:      about {duration(seconds / at_a_time)} with {at_a_time} at a time on {execution.processor}"
    largest = sorted((cost.memory_bytes for _, cost in costs), reverse=True)[:at_a_time]
    yield f"Memory:    at most {sum(largest) / 1e9:.1f} GB in {len(largest)} processes"
    if any(cost.guessed for _, cost in costs):
        yield GUESSED
