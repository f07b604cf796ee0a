"""Take snapshots off the shelf, with what was derived from them; never one that is in use, unless forced."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.errors import InputError
from tasks.home import Home
from tasks.leases import nobody_at_work
from tasks.scratch import held_folders, working_folder
from tasks.shelf.entries import Entry, find, read_shelf, standing_on
from tasks.shelf.references import References, references


@dataclass(frozen=True)
class Removal:
    """What would go: snapshots, and the files and folders `derived` from them; `bytes` in all.

    `objections`: why they should stay, a sentence each.
    """

    entries: tuple[Entry, ...]
    derived: tuple[Path, ...]
    bytes: int
    objections: tuple[str, ...] = ()


def plan_named(names: Sequence[str], *, home: Home) -> Removal:
    """The removal of the snapshots whose names begin so.

    Raises `InputError` where a name is wrong, or names what this project did not put there.
    """
    shelf = read_shelf(home)
    chosen = tuple({entry.name: entry for entry in (find(name, shelf) for name in names)}.values())
    for entry in chosen:
        if entry.is_foreign:
            raise InputError(f"{entry.path} is no snapshot of this project: remove it by hand if nobody needs it")
    try:
        used = references([entry.name for entry in chosen], home=home)
    except InputError as error:
        return _removal(chosen, home, (str(error), *_stood_on(chosen, shelf)))
    return _removal(chosen, home, (*_referred_to(used), *_stood_on(chosen, shelf)))


def plan_unused(*, home: Home) -> Removal:
    """The removal of every whole snapshot that nothing refers to and that no other that stays stands on.

    Raises `InputError` where it cannot be said what refers to them.
    """
    shelf = read_shelf(home)
    used = references([entry.name for entry in shelf], home=home)
    waiting = [entry for entry in shelf if used[entry.name]]
    staying: set[str] = set()
    while waiting:
        entry = waiting.pop()
        staying.add(entry.name)
        waiting += [other for other in shelf if other.name in entry.stands_on - staying]
    return _removal(tuple(entry for entry in shelf if entry.snapshot and entry.name not in staying), home)


def carry_out(removal: Removal, *, plan: Callable[[], Removal], home: Home) -> None:
    """Remove what was planned while no other process is at work; each folder disappears at once.

    What is derived goes first, so that a removal that was killed can be asked for again. `plan` makes the same plan
    anew. Raises `InputError` where another process is at work, or where the plan has become another.
    """
    paths = (*removal.derived, *(entry.path for entry in removal.entries))
    with nobody_at_work(home=home):
        if any(held_folders(parent) for parent in {home.snapshots, home.docs, *(path.parent for path in paths)}):
            raise InputError(f"another process is writing in {home.root}: wait until it is done, then ask again")
        if plan() != removal:
            raise InputError("what would be removed has changed in the meantime: ask again")
        for path in paths:
            with working_folder(path.parent) as work:
                path.rename(work / path.name)


def _removal(entries: tuple[Entry, ...], home: Home, objections: tuple[str, ...] = ()) -> Removal:
    derived = tuple(path for entry in entries for path in _derived(entry.name, home))
    size = sum(entry.bytes for entry in entries) + sum(_bytes(path) for path in derived)
    return Removal(entries, derived, size, objections)


def _derived(name: str, home: Home) -> list[Path]:
    """What steps made of the snapshot and can make again: the arrays that models read, audits' judgements, and the
    Data Docs.
    """
    made = [path for step in ("sequences", "audit") for path in sorted((home.steps / step).glob(f"{name}-*"))]
    docs = home.docs / name
    return [*made, docs] if docs.exists() else made


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _referred_to(used: Mapping[str, References]) -> Iterator[str]:
    for name, found in used.items():
        if found.models:
            versions = ", ".join(f"{model.name} version {model.version}" for model in found.models)
            yield f"{name} is what {versions} was made from"
        if found.runs:
            many = f"{len(found.runs):,} MLflow runs, one of them" if len(found.runs) > 1 else "1 MLflow run,"
            yield f"{name} is in {many} {found.runs[0].run_id}"
        if found.scored:
            yield f"{name} is what the users of {found.scored[0]} were scored by"


def _stood_on(chosen: Sequence[Entry], shelf: Sequence[Entry]) -> Iterator[str]:
    going = {entry.name for entry in chosen}
    for entry in chosen:
        for other in standing_on(entry.name, shelf):
            if other.name not in going:
                yield f"{entry.name} is what {other.name} was made from, which would stay"
