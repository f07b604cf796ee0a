"""The limits that a person may edit: what is plausible, and how bad it is where it is not."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError

from tasks.errors import InputError
from tasks.frozen import Frozen

Severity = Literal["critical", "warning"]


class TimesLimits(Frozen):
    """The range in which an event's time is plausible."""

    earliest: date
    hours_ahead: Annotated[float, Field(ge=0, le=24 * 365, allow_inf_nan=False)]
    severity: Severity

    def range(self, now: datetime) -> tuple[int, int]:
        """The earliest and the latest plausible time in microseconds since 1970 UTC."""
        earliest = datetime.combine(self.earliest, datetime.min.time(), tzinfo=UTC)
        return _microseconds(earliest), _microseconds(now + timedelta(hours=self.hours_ahead))


class IdLimits(Frozen):
    """What an id looks like: its greatest length in characters, and words that stand for no id, in small letters."""

    longest: Annotated[int, Field(ge=1)]
    words_for_nothing: tuple[str, ...]
    severity: Severity


class RatingLimits(Frozen):
    """The range in which a rating is plausible."""

    least: Annotated[float, Field(allow_inf_nan=False)]
    most: Annotated[float, Field(allow_inf_nan=False)]
    severity: Severity


class MostLimit(Frozen):
    """The largest number that is plausible."""

    most: Annotated[int, Field(ge=1)]
    severity: Severity


class LeastLimit(Frozen):
    """The smallest number that is plausible."""

    least: Annotated[int, Field(ge=0)]
    severity: Severity


class ShareLimit(Frozen):
    """The largest share of a table's rows that may be unexpected."""

    largest_share: Annotated[float, Field(ge=0, le=1)]
    severity: Severity


class NoiseKinds(Frozen):
    """The kinds of noise that a label may name."""

    known: Annotated[tuple[str, ...], Field(min_length=1)]
    severity: Severity


class NoiseRatioLimit(Frozen):
    """How far the realised share of injected noise may be from the share asked for."""

    tolerance: Annotated[float, Field(ge=0, le=1)]
    severity: Severity


class SeverityOnly(Frozen):
    """A rule without a number."""

    severity: Severity


class RawLimits(Frozen):
    """Of a log as it was found."""

    times: TimesLimits
    ids: IdLimits
    ratings: RatingLimits
    duplicates: ShareLimit
    repeated_order: ShareLimit
    events_per_day: MostLimit
    events_per_second: MostLimit
    single_event_users: ShareLimit
    single_event_items: ShareLimit
    users: LeastLimit
    items: LeastLimit


class SnapshotLimits(Frozen):
    """Of every snapshot, corrupted ones included."""

    times: TimesLimits
    events_per_day: MostLimit
    duplicates: ShareLimit
    unseen_items: ShareLimit
    unseen_targets: ShareLimit
    split_size: LeastLimit
    noise_kinds: NoiseKinds


class CorruptedLimits(Frozen):
    """Of a snapshot with noise put into it on purpose."""

    noise_ratio: NoiseRatioLimit
    clean_absent: SeverityOnly


class Limits(Frozen):
    """The contents of `expectations.yaml`."""

    rows_shown: Annotated[int, Field(ge=1, le=20)]
    raw: RawLimits
    snapshot: SnapshotLimits
    corrupted: CorruptedLimits


def load_limits(path: Path) -> Limits:
    """Read a file of limits. Raises `InputError` naming the key where something is wrong with it."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: the file of expectations cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{path}{where}: the file of expectations is not valid YAML") from error
    try:
        return Limits.model_validate(content)
    except ValidationError as error:
        # A misspelt key is also a missing one: say which was written.
        first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InputError(f"{path}: {key}: {_complaint(first['type'], first['msg'])}") from error


def _complaint(kind: str, message: str) -> str:
    match kind:
        case "extra_forbidden":
            return "no such key is known: remove it or correct its spelling"
        case "missing":
            return "the key is absent: add it"
        case _:
            return message[:1].lower() + message[1:]


def _microseconds(moment: datetime) -> int:
    """Microseconds since 1970 UTC, exactly."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
