"""What it takes to make a run again: its data by digest, the keys of its steps, its code, and where it ran."""

import platform
from collections.abc import Mapping
from dataclasses import replace
from email.parser import HeaderParser
from functools import cache
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

import psutil

from tasks.dotted import differing
from tasks.execution import Execution
from tasks.frozen import Frozen
from tasks.keys import code_digest
from tasks.machine import usable_cores
from tasks.plan import DETECT_CODE, EVALUATE_CODE, TRAIN_CODE, Cell
from tasks.snapshots import Counts, Snapshot, SourceFile

Changes = dict[str, tuple[Any, Any]]
"""What differs between two, by its name: how it is in the first and in the second, None for what one lacks."""


class SnapshotRecord(Frozen):
    """A snapshot as a run remembers it."""

    digest: str
    counts: Counts
    sources: tuple[SourceFile, ...]

    @classmethod
    def of(cls, snapshot: Snapshot) -> "SnapshotRecord":
        return cls(digest=snapshot.digest, counts=snapshot.counts, sources=snapshot.manifest.sources)


class Environment(Frozen):
    """Where a run ran. `packages`: every installed one with its version."""

    system: str
    cores: int
    memory_bytes: int
    packages: dict[str, str]


class Provenance(Frozen):
    """What a run was made from and by, beside its spec.

    clean: the snapshot without injected noise, whose protocol counts; trained_on, histories: as in `tasks.plan.Cell`.
    train_key, evaluate_key, detect_key: of the steps; train_code, evaluate_code, detect_code: digests of the code that
    they run; those of the noise detection are None where there is none, and in runs that are older than it. code: the
    tags of `tasks.track.code_tags`. folder: the working folder, which a relative path in the spec is relative to.
    """

    clean: SnapshotRecord
    trained_on: SnapshotRecord
    histories: SnapshotRecord
    train_key: str
    evaluate_key: str
    train_code: str
    evaluate_code: str
    code: dict[str, str]
    execution: dict[str, Any]
    environment: Environment
    folder: str
    detect_key: str | None = None
    detect_code: str | None = None


def provenance(cell: Cell, execution: Execution, *, code: Mapping[str, str]) -> Provenance:
    """The record of a cell that this process trains and ranks, or takes from the cache: by its keys that is the same as
    if it were made now.
    """
    return Provenance(
        clean=SnapshotRecord.of(cell.clean),
        trained_on=SnapshotRecord.of(cell.snapshot),
        histories=SnapshotRecord.of(cell.histories),
        train_key=cell.train_key,
        evaluate_key=cell.evaluate_key,
        train_code=code_digest(TRAIN_CODE),
        evaluate_code=code_digest(EVALUATE_CODE),
        code=dict(code),
        execution=replace(execution, stacked=cell.stacked, compiled=cell.compiled).to_dict(),
        environment=environment(),
        folder=str(Path.cwd()),
        detect_key=cell.detect_key,
        detect_code=None if cell.detect_key is None else code_digest(DETECT_CODE),
    )


@cache
def environment() -> Environment:
    """The machine and the installed packages."""
    installed = dict(named for distribution in distributions() if (named := _name_and_version(distribution)))
    return Environment(
        system=platform.platform(),
        cores=usable_cores(),
        memory_bytes=psutil.virtual_memory().total,
        packages=dict(sorted(installed.items(), key=lambda entry: entry[0].lower())),
    )


def code_changes(a: Provenance, b: Provenance) -> Changes:
    """Where the code differs. The digests are of what the steps run, whatever else of the project has changed."""
    both_detect = a.detect_code is not None and b.detect_code is not None

    def code(of: Provenance) -> dict[str, Any]:
        detection = {"detect": of.detect_code} if both_detect else {}
        return {"train": of.train_code, "evaluate": of.evaluate_code, **detection, **of.code}

    return differing(code(a), code(b))


def package_changes(a: Provenance, b: Provenance) -> Changes:
    """Which installed packages differ."""
    return differing(a.environment.packages, b.environment.packages)


def machine_changes(a: Provenance, b: Provenance) -> Changes:
    """Where machine and execution record differ."""
    return differing(_machine(a), _machine(b))


def data_changes(a: Provenance, b: Provenance) -> Changes:
    """Where the data differ: digests, counts and source files of the snapshots, and the files that they came from."""
    return differing(_data(a), _data(b))


def _name_and_version(distribution: Distribution) -> tuple[str, str] | None:
    """Of an installed package; None for what is left of one that was removed. Its own `name` and `version` each parse
    its whole description.
    """
    text = next(filter(None, map(distribution.read_text, ("METADATA", "PKG-INFO", ""))), "")
    head = HeaderParser().parsestr(text.partition("\n\n")[0])
    return (head["Name"], head["Version"]) if head["Name"] and head["Version"] else None


def _machine(held: Provenance) -> dict[str, Any]:
    here = held.environment
    plain = {"stacked": 1, "compiled": False}  # as was every training of a record that does not say
    return plain | held.execution | {"system": here.system, "cores": here.cores, "memory_bytes": here.memory_bytes}


def _data(held: Provenance) -> dict[str, Any]:
    snapshots = {"clean": held.clean, "trained_on": held.trained_on, "histories": held.histories}
    return {
        name: {"digest": snapshot.digest, **snapshot.counts.model_dump()} for name, snapshot in snapshots.items()
    } | {
        "source": {
            str(number): f"{file.name}, {file.bytes} bytes, SHA-256 {file.sha256}"
            for number, file in enumerate(held.clean.sources, start=1)
        }
    }
