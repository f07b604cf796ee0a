"""SVG and HTML as text: every attribute and every word escaped, numbers short and whole, always well-formed XML."""

import re
import unicodedata
from collections.abc import Iterable

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_AS_IT_IS = {"code", "desc", "text", "title", "tspan"}
"""Elements whose text is copied sign by sign, or stands on one line anyhow."""
_FIGURE = r"[+−]?\d"
_WITHIN = re.compile(
    r"(?<=\d) (?=%|±|(?:[kMG]i?B|bits|s|min|h)\b)|(?<=[±<]) (?=\.?\d)"
    rf"|(?<=[\d%]) (?=to {_FIGURE})|(?<=[\d%] to) (?={_FIGURE})"
)
"""A space before a unit, about ± or within an interval."""
_TURNING = ("R", "AL", "RLE", "RLO", "RLI", "LRE", "LRO", "LRI", "FSI")
"""Unicode's classes of signs that turn the direction of what stands beside them."""


def escape(text: object) -> str:
    """The text as it may stand in an element or in a quoted attribute; characters that XML lacks become a mark."""
    clean = _FORBIDDEN.sub("\ufffd", str(text))
    for sign, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&#39;")):
        clean = clean.replace(sign, entity)
    return clean


def isolated(name: str) -> str:
    """A name as a part of a sentence. One in Hebrew or Arabic, or with marks of direction in it, would pull the numbers
    after it to its other side, next to another name; Unicode's isolates keep its direction to itself.
    """
    turns = any(unicodedata.bidirectional(sign) in _TURNING for sign in name)
    return f"\u2068{name}\u2069" if turns else name


def element(tag: str, content: str | Iterable[str] = "", **attributes: object) -> str:
    """An element around what is markup already. `class_` and `stroke_width` are class and stroke-width; an attribute
    that is None is left out, floats have two decimals.
    """
    held = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(_short(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    inner = content if isinstance(content, str) else "".join(content)
    return f"<{tag}{held}>{inner}</{tag}>"


def words(tag: str, text: object, **attributes: object) -> str:
    """An element around text that is not markup."""
    return element(tag, escape(text) if tag in _AS_IT_IS else prose(text), **attributes)


def prose(text: object) -> str:
    """Text that is read, as it may stand in an element: no line breaks between a figure and its unit or within an
    interval.
    """
    return escape(_WITHIN.sub("\N{NO-BREAK SPACE}", str(text)))


def path(points: Iterable[tuple[float, float]], *, closed: str = "", **attributes: object) -> str:
    """A path through the points; `closed` "Z" leads it back."""
    steps = "L".join(f"{_short(float(x))} {_short(float(y))}" for x, y in points)
    return element("path", "", d=f"M{steps}{closed}", **attributes)


def _short(value: object) -> str:
    if isinstance(value, float):
        said = f"{value:.2f}".rstrip("0").rstrip(".")
        return "0" if said == "-0" else said
    return str(value)
