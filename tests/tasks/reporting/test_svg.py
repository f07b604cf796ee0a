"""Text as markup: figures keep their units, what is copied keeps every sign."""

import pytest

from tasks.reporting.svg import prose, words

NO_BREAK = "\N{NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a 95 % interval", ["a", "95 %", "interval"]),
        ("+4.2 % (−0.8 to 5.4), so", ["+4.2 %", "(−0.8 to 5.4),", "so"]),
        ("from 84.1 % to +93.1 %.", ["from", "84.1 % to +93.1 %."]),
        ("0.2429 ± 0.0141 over 2 seeds", ["0.2429 ± 0.0141", "over", "2", "seeds"]),
        ("p < .001 in 12 min 5 s", ["p", "< .001", "in", "12 min", "5 s"]),
        ("512 MiB of 2 GB, 0.5 bits", ["512 MiB", "of", "2 GB,", "0.5 bits"]),
        ("2 methods, 3 or 5 to be sure", ["2", "methods,", "3", "or", "5", "to", "be", "sure"]),
        ("1 minute, 4 hits, m < n", ["1", "minute,", "4", "hits,", "m", "<", "n"]),
    ],
)
def test_no_line_breaks_between_a_figure_and_its_unit_or_within_an_interval(text: str, pieces: list[str]) -> None:
    expected = " ".join(piece.replace(" ", NO_BREAK) for piece in pieces)
    assert prose(text) == expected.replace("<", "&lt;")
    assert words("p", text) == f"<p>{prose(text)}</p>"


def test_a_command_is_copied_sign_by_sign() -> None:
    command = "--set question=At 20 %, 1 to 2?"
    assert words("code", command) == f"<code>{command}</code>"
