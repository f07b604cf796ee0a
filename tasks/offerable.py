"""Which of a model's items may be offered: those of a list alone, or all but those of another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.digests import spec_digest
from tasks.errors import InputError
from tasks.paths import path_named
from tasks.specs import OfferableSpec
from tasks.wording import counted, on_one_line

SHOWN = 3
"""How many ids that the model does not know are shown of a list."""


@dataclass(frozen=True)
class Offerable:
    """What lists of raw ids come to for one model; without a list, everything may be offered.

    lists: by parameter of the model, `only` or `exclude`, the ids that it knows, in the type and order of its own
    unknown: of each list that has ids which the model does not know, a sentence that says how many, and the first ones
    name: short, the same where the same items are left of the same model; empty without a list
    """

    lists: Mapping[str, list[Any]] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    name: str = ""


EVERYTHING = Offerable()


def resolved(spec: OfferableSpec, ids: Sequence[Any]) -> Offerable:
    """What the spec's lists, which may lie in files, come to for a model with these raw ids.

    Raises `InputError` where a file cannot be read, where a list has ids of which the model knows none, and where the
    lists leave no item.
    """
    asked = {"only": _listed("only", spec.only, spec.only_file)}
    asked |= {"exclude": _listed("exclude", spec.exclude, spec.exclude_file)}
    given = {parameter: listed for parameter, listed in asked.items() if listed is not None}
    if not given:
        return EVERYTHING
    lists = {parameter: listed.known(ids) for parameter, listed in given.items()}
    excluded = set(lists.get("exclude", ()))
    left = [raw for raw in lists.get("only", ids) if raw not in excluded]
    if not left:
        told = " and ".join(listed.named for listed in given.values())
        raise InputError(f"{told}: no item that the model knows is left to be offered")
    known = {str(raw) for raw in ids}
    sentences = [sentence for listed in given.values() if (sentence := listed.unknown(known))]
    return Offerable(lists, tuple(sentences), spec_digest({"offerable": left})[:8])


@dataclass(frozen=True)
class _Listed:
    """The raw ids of a list, each once, and how a person named it."""

    ids: tuple[str, ...]
    named: str

    def known(self, ids: Sequence[Any]) -> list[Any]:
        """Those of the model's ids that are listed. Raises `InputError` where none is, unless the list is empty."""
        listed = set(self.ids)
        known = [raw for raw in ids if str(raw) in listed]
        if listed and not known:
            raise InputError(
                f"{self.named}: of {counted(len(self.ids), 'id')} the model knows none ({_first(self.ids)}): are ids "
                "written as in the log that it learned from?"
            )
        return known

    def unknown(self, known: set[str]) -> str:
        """In a sentence, how many ids are not `known`, and the first of them; empty where all are."""
        unknown = [raw for raw in self.ids if raw not in known]
        if not unknown:
            return ""
        told = f"of {counted(len(self.ids), 'id')} the model does not know {len(unknown):,}"
        return f"{self.named}: {told} ({_first(unknown)})"


def _listed(parameter: str, ids: Sequence[str] | None, file: str | None) -> _Listed | None:
    option = f"--{parameter}"
    if file is not None:
        return _Listed(tuple(dict.fromkeys(_lines(file, option=f"{option}-file"))), f"{option}-file {file}")
    return None if ids is None else _Listed(tuple(dict.fromkeys(ids)), option)


def _lines(file: str, *, option: str) -> list[str]:
    """What stands on the lines that are not blank, without the blanks around it."""
    path = path_named(file, by=option)
    if path.is_dir():
        raise InputError(f"{option}: {path} is a folder: name a text file of one id a line")
    try:
        with path.open(encoding="utf-8-sig") as text:
            return [line.strip() for line in text if line.strip()]
    except FileNotFoundError:
        raise InputError(f"{option}: {path} does not exist") from None
    except OSError as error:
        raise InputError(f"{option}: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{option}: {path} is no text in UTF-8: write one id a line") from None


def _first(ids: Sequence[str]) -> str:
    """The first ids, and whether there are more."""
    return ", ".join([*map(on_one_line, ids[:SHOWN]), *(["…"] if len(ids) > SHOWN else [])])
