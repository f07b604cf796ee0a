"""What the command line's options take: each reads a text, or says in half a sentence why it cannot."""

import argparse
import csv
import math
import os
import re
from collections.abc import Callable
from typing import Any

MOST = 2**31 - 1
"""The greatest whole number that is taken where nothing sets another bound."""


class Exported(argparse.Action):
    """Hands an option's value to this process and its children as the variable REC_DENOISER_<OPTION>."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, values)
        os.environ[f"REC_DENOISER_{self.dest.upper()}"] = values


def not_blank(text: str) -> str:
    """A name or a path, whatever it is."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it names nothing: leave it out, or write a name")
    return text


def memory_size(text: str) -> str:
    """As DuckDB takes it: 4GB."""
    from tasks import engine
    from tasks.errors import InputError

    try:
        return engine.memory_size(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def within(low: float, high: float) -> Callable[[str], float]:
    """A number that lies between both, or on one of them."""

    def parse(text: str) -> float:
        value = number(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} does not lie between {low:g} and {high:g}")
        return value

    return parse


def probability(text: str) -> float:
    """A number in [0, 1)."""
    value = number(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} does not lie in [0, 1)")
    return value


def number(text: str) -> float:
    """A finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value


def data_set_name(text: str) -> str:
    """A name that can be part of a model's and of a file's."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,59}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not made of at most 60 small letters, digits, '.', '_' and '-'")
    return text


def whole(least: int, *, most: int = MOST) -> Callable[[str], int]:
    """A whole number from `least` to `most`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < least and most == MOST:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} does not lie between {least} and {most}")
        return value

    return parse


def raw_ids(text: str) -> list[str]:
    """Raw ids as in CSV: one that has commas in it stands in double quotes."""
    lines = csv.reader(text.splitlines(keepends=True), skipinitialspace=True)
    return _without_gaps([part.strip() for line in lines for part in line], text)


def list_of(parse: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """Several of a kind, parted by commas."""

    def parse_list(text: str) -> list[Any]:
        return [parse(part) for part in _without_gaps([part.strip() for part in text.split(",")], text)]

    return parse_list


def methods(text: str) -> list[str]:
    """Methods parted by commas, but not by those between what one of a person's own is given in brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += character
    return _without_gaps([part.strip() for part in parts], text)


def _without_gaps(parts: list[str], text: str) -> list[str]:
    if not parts or not all(parts):
        raise argparse.ArgumentTypeError(f"{text!r} has an empty place: part the values by single commas")
    return parts
