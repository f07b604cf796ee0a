"""Where a log comes from: a person's files, an address, a known public data set, or the generated shoppers. What is no
log any more, a snapshot, is named in `tasks.sources.shelved`.

Files that lie elsewhere are fetched into the state folder first (`tasks.sources.fetch` says why).
"""

import glob
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tasks.data_specs import Columns, PrepareSpec, ShoppersSpec, SourceSpec
from tasks.digests import spec_digest
from tasks.errors import InputError
from tasks.home import Home
from tasks.keys import code_digest
from tasks.locks import locked
from tasks.paths import path_named
from tasks.scratch import working_folder
from tasks.shoppers import generate
from tasks.sources import fetch as fetching
from tasks.sources.addresses import address_of, scheme_of, without_secrets
from tasks.sources.datasets import GENERATED, by_hand, known, remote_of
from tasks.sources.fetch import Kept, Remote
from tasks.sources.formats import COLUMNS, formats_named
from tasks.sources.layouts import recognise_all, refuse_contradiction
from tasks.sources.logs import Log, log_file, log_of
from tasks.sources.shelved import is_shelved, shelved

SHOPPERS_COLUMNS = Columns(user="user_id", item="item_id", time="time", noise="noise")


def inspect_source(source: SourceSpec, prepare: PrepareSpec | None = None, *, home: Home | None = None) -> None:
    """Refuse a source that cannot be ingested, or not prepared so, at the cost of reading its files' beginnings or of
    one request.

    Raises `InputError` in one sentence: missing, a folder, a pattern that nothing matches, unreadable, empty, of an
    unknown kind, a Parquet file cut short, an absent column; an address that is none or answers with a refusal; a data
    set that only a person can get; columns or a format that are those of a log where the log is generated, and shoppers
    where it is not; ratings or times that `prepare` goes by and the log is read without. What a remote file of no known
    format holds is seen when it has been fetched.
    """
    home = home or Home.from_environment()
    if shelved(source, prepare, home=home) is not None:
        return
    found = _located(source)
    format, roles = _said(found)
    if prepare is not None and roles is not None:
        _refuse_unprepared(found.source, prepare, roles=roles, format=format)
    if found.remote is not None:
        fetching.probe(found.remote, home=home)


def obtain_log(source: SourceSpec, *, home: Home, fetch: Callable[[Remote], Kept] | None = None) -> Log:
    """The files of `source`, fetched or generated first where need be.

    `fetch` brings a remote file to this machine; by default that is `fetch` beside, which speaks to Python's log.
    Raises `InputError` where a file cannot be what it is said to be (see `inspect_source`).
    """
    found = _located(source)
    if found.remote is not None:
        fetch = fetch or partial(fetching.fetch, home=home, say=logging.getLogger(__name__).info)
        kept = fetch(found.remote)
        return Log((log_file(kept.path, sha256=kept.sha256),), _with_format(found.source, (kept.path,)))
    if found.paths:
        return log_of(_with_format(found.source, found.paths), *found.paths)
    path = _generated(source, home)
    if not path.exists():
        with working_folder(path.parent) as work:
            made = generate(source.shoppers, work / path.name)
            with locked(path.parent):
                if not path.exists():  # another process may read the one that it made meanwhile
                    made.rename(path)
    return log_of(found.source, path)


def matching(pattern: Path) -> tuple[Path, ...]:
    """The files that a path or a pattern stands for, in the order of their names."""
    # Unlike Path.glob, this one leaves hidden files out, as shells do.
    found = map(Path, glob.glob(str(pattern), recursive=True))  # noqa: PTH207
    return tuple(sorted(path for path in found if path.is_file()))


def is_here(source: SourceSpec, *, home: Home) -> bool:
    """Can `obtain_log` give the log without fetching or generating anything? Raises as `inspect_source` does."""
    found = _located(source)
    if found.remote is not None:
        return fetching.kept(found.remote, home=home) is not None
    return bool(found.paths) or _generated(source, home).exists()


def _said(found: "_Located") -> tuple[str, Collection[str] | None]:
    """The format of a source and which roles its rows have; None where that is not known before it is fetched."""
    if found.paths:
        layout = recognise_all(found.paths, found.source)[0]
        return layout.format, layout.names
    format, columns = found.source.format or COLUMNS, found.source.columns
    if format != COLUMNS:
        return format, {role for one in formats_named(format) for role in one.names}
    return format, None if columns == Columns() else columns.model_dump(exclude_none=True)


def _refuse_unprepared(source: SourceSpec, prepare: PrepareSpec, *, roles: Collection[str], format: str) -> None:
    """Raise `InputError` where `prepare` goes by what the log's rows, of which `roles` are read, do not say."""
    for role, option, is_asked in (
        ("rating", "--min-rating", prepare.min_rating is not None),
        ("time", "--duplicates exact", prepare.duplicates == "exact"),
        ("time", "--split temporal", prepare.split.kind == "temporal"),
    ):
        if is_asked and role not in roles:
            title = "the generated log" if source.path is None else without_secrets(source.path)
            can_be_named = format == COLUMNS and source.path is not None
            advice = (
                f"name their column with --{role}-col, or leave the option out"
                if can_be_named
                else "leave the option out"
            )
            raise InputError(f"{option} goes by {role}s, which {title} is read without: {advice}")


def _generated(source: SourceSpec, home: Home) -> Path:
    """Where the generated log of the source's shoppers lies, or will."""
    name = f"shoppers-{spec_digest(source.shoppers)[:12]}-{code_digest(('tasks.shoppers',))[:12]}.parquet"
    return home.sources / name


def _with_format(source: SourceSpec, paths: tuple[Path, ...]) -> SourceSpec:
    """`source` with the format that the files turn out to be of, for which their names count too."""
    return source.model_copy(update={"format": recognise_all(paths, source)[0].format})


@dataclass(frozen=True)
class _Located:
    """A source's files on this machine, or the one elsewhere, or neither for the generated log; and how to read it."""

    source: SourceSpec
    paths: tuple[Path, ...] = ()
    remote: Remote | None = None


def _located(source: SourceSpec) -> _Located:
    if source.path is None:
        return _Located(_of_shoppers(source))
    if source.path == GENERATED and not Path(GENERATED).exists():
        return _Located(_of_shoppers(source))
    _refuse_shoppers(source)
    refuse_contradiction(source)
    if is_shelved(source):
        raise InputError(f"{source.path} is a snapshot, and here a log is asked for: name the log that it was made of")
    if scheme_of(source.path) is not None:
        elsewhere = Remote(address_of(source.path))
        return _Located(source.model_copy(update={"path": without_secrets(source.path)}), remote=elsewhere)
    path = path_named(source.path)
    if path.exists():
        return _Located(source, (path,))
    if glob.has_magic(source.path):
        return _Located(source, _matching(path))
    dataset = known(source.path)
    if dataset is None:
        raise InputError(
            f"{path} does not exist, and no public data set has that name (`rec-denoiser datasets` lists those known)"
        )
    remote = remote_of(dataset)
    if remote is None:
        raise InputError(by_hand(dataset))
    as_published = source.format == SourceSpec().format and source.columns == Columns()
    return _Located(source.model_copy(update={"format": dataset.format}) if as_published else source, remote=remote)


def _of_shoppers(source: SourceSpec) -> SourceSpec:
    """How the generated log is read. Raises `InputError` where that is said otherwise: it would have no effect."""
    usual, own = Columns().model_dump(), SHOPPERS_COLUMNS.model_dump()
    for role, name in source.columns.model_dump().items():
        if name not in (usual[role], own[role]):
            raise InputError(
                f"--{role}-col {name} names a column of a log, and the generated shoppers have their own: give the "
                "log's --source, or leave the option out"
            )
    if source.format not in (None, COLUMNS):
        raise InputError(
            f"--format {source.format} says how a log's file is laid out, and the generated shoppers are in none: give "
            "the log's --source, or leave the option out"
        )
    return source.model_copy(update={"columns": SHOPPERS_COLUMNS, "path": None})


def _refuse_shoppers(source: SourceSpec) -> None:
    """Raise `InputError` where a source says what the generated log is to be, and is another log."""
    if source.path is not None and source.shoppers != ShoppersSpec():
        raise InputError(
            "source.shoppers says what the generated log is to be, and the source is "
            f"{without_secrets(source.path)}: leave one of the two out"
        )


def _matching(pattern: Path) -> tuple[Path, ...]:
    """The files that a pattern stands for, in the order of their names."""
    paths = matching(pattern)
    if not paths:
        raise InputError(f"{pattern} matches no file: check the pattern, and that the shell has not read it first")
    return paths
