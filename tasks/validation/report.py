"""What became of the expectations, as values, as JSON and in words."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tasks.errors import InputError
from tasks.validation.limits import Severity
from tasks.wording import counted

Json = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What became of one expectation.

    `name`: the expectation in words. `column`: None where it is about whole rows. `unexpected`: number of
    unexpected rows, None where it cannot be said. `rows`: the first of them, column by column. `observed`:
    the value that was found, where there is one. `crash`: what was raised where the expectation could not
    be evaluated.
    """

    name: str
    table: str
    column: str | None
    severity: Severity
    success: bool
    unexpected: int | None
    rows: tuple[Json, ...]
    observed: Any
    crash: str | None


@dataclass(frozen=True)
class ValidationReport:
    """Every expectation's outcome.

    `suite`: raw, snapshot, corrupted or filtered. `subject`: what was checked, in words. `docs`: index.html of the Data
    Docs. `seconds`: wall-clock time taken.
    """

    suite: str
    subject: str
    outcomes: tuple[Outcome, ...]
    docs: Path
    seconds: float

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """Failed critical expectations, those that crashed among them."""
        return tuple(o for o in self.outcomes if not o.success and o.severity == "critical")

    @property
    def warnings(self) -> tuple[Outcome, ...]:
        """Failed expectations that do not stop a run."""
        return tuple(o for o in self.outcomes if not o.success and o.severity == "warning")

    def to_json(self) -> Json:
        """The report as JSON values."""
        return {
            "suite": self.suite,
            "subject": self.subject,
            "success": not self.failures,
            "warnings": [describe(outcome) for outcome in self.warnings],
            "expectations": [asdict(outcome) for outcome in self.outcomes],
            "docs": str(self.docs),
            "seconds": self.seconds,
        }


class ValidationFailed(InputError):
    """A critical expectation failed: the message names the first one's rows, `report` holds all outcomes."""

    def __init__(self, message: str, report: ValidationReport) -> None:
        super().__init__(message)
        self.report = report

    def __reduce__(self) -> tuple[type["ValidationFailed"], tuple[str, ValidationReport]]:
        return type(self), (str(self), self.report)


def describe(outcome: Outcome, *, rows_shown: int = 3) -> str:
    """A failed outcome in words: the expectation, table, column, number of rows and the first of them."""
    where = f"table {outcome.table}" + (f", column {outcome.column}" if outcome.column else "")
    if outcome.crash is not None:
        return f"“{outcome.name}” ({where}) could not be evaluated: {outcome.crash}"
    if outcome.unexpected is None:
        return f"“{outcome.name}” fails ({where}): found {outcome.observed}"
    many = counted(outcome.unexpected, "row")
    rows = "; ".join(_row_in_words(row) for row in outcome.rows[:rows_shown])
    first = "" if outcome.unexpected <= len(outcome.rows[:rows_shown]) else "the first "
    return f"“{outcome.name}” fails ({where}) in {many}" + (f": {first}{rows}" if rows else "")


def failure_sentence(report: ValidationReport, *, rows_shown: int) -> str:
    """The first critical failure in words, how many more there are, and where to read on."""
    first, *others = report.failures
    more = f" (and {len(others)} more failed)" if others else ""
    return f"{report.subject}: {describe(first, rows_shown=rows_shown)}{more}; see {report.docs}"


def first_line(message: object, longest: int = 200) -> str:
    """The first line of a message that says something, cut short where it is long."""
    line = next((line.strip() for line in str(message or "").splitlines() if line.strip()), "")
    return line if len(line) <= longest else line[: longest - 1] + "…"


def plain(value: Any) -> Any:
    """`value` as JSON would hold it."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case Decimal():
            return float(value)
        case Mapping():
            return {str(key): plain(inner) for key, inner in value.items()}
        case list() | tuple() | set():
            return [plain(inner) for inner in value]
        case _:
            return str(value)


def _row_in_words(row: Json) -> str:
    return "(" + ", ".join(f"{key} {'null' if value is None else value}" for key, value in row.items()) + ")"
