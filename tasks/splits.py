"""Who trains, and who is ranked on what: a split as positions within each user.

Whatever its kind, a split says of each user how many of the first events may be trained on, and which positions are
targets of validation and of test. A target has a history: a user's first event is none.
"""

from decimal import Decimal
from math import floor
from typing import Literal

import duckdb

import sql
from tasks.data_specs import (
    LeaveOneOut,
    PrepareSpec,
    SessionSplit,
    Split,
    TemporalSplit,
    UserSplit,
)
from tasks.engine import engine, one_row
from tasks.errors import InputError
from tasks.snapshots import Snapshot

Which = Literal["first", "last", "every"]


def split(connection: duckdb.DuckDBPyConnection, prepare: PrepareSpec, *, order: list[str], title: str) -> None:
    """Make the relations `users` and `targets` of `members`, `ordered` and `interactions`.

    `order` are the columns of `ordered` that a session's first event is placed by. Who only scores users needs none
    of its parts: that one is empty is for `refuse_unranked` to say.
    """
    connection.execute(sql.load("ingest/draws", seed=sql.literal(str(prepare.seed))))
    which = _make_windows(connection, prepare.split, order=order, title=title)
    connection.execute(sql.load("ingest/users"))
    connection.execute(sql.load("ingest/targets"), {"which": which, "promotion": prepare.promotion})


def refuse_unranked(snapshot: Snapshot) -> None:
    """Raise `InputError` where the split of a snapshot leaves nothing to train on, to validate on or to test on."""
    counts = snapshot.counts
    if counts.training and counts.targets_validation and counts.targets_test:
        return
    kind = PrepareSpec.model_validate(snapshot.manifest.spec["prepare"]).split
    title = ", ".join(file.name for file in snapshot.manifest.sources)
    if isinstance(kind, LeaveOneOut):
        with engine() as connection:
            query = sql.load("ingest/longest", interactions=sql.literal(str(snapshot.interactions)))
            (longest,) = one_row(connection, query)
        raise InputError(
            f"{title}: no user has the {kind.min_events} interactions that being ranked takes "
            f"(the longest history has {longest}), so there would be nothing to evaluate; `recommend` scores such "
            "users with a model that learned from another log"
        )
    missing = "test" if counts.targets_validation else "validation"
    empty = f"no target of {missing}" if counts.training else "nothing to train on"
    raise InputError(
        f"{title}: the {_described(kind)} of {counts.interactions} events of {counts.users} users leaves {empty}: "
        f"{_advice(kind)}"
    )


def share_of(share: float, count: int) -> int:
    """That share of `count`, rounded down; a share is the decimal number that a person wrote."""
    return floor(Decimal(str(share)) * count)


def _make_windows(connection: duckdb.DuckDBPyConnection, kind: Split, *, order: list[str], title: str) -> Which:
    """Make the table `windows`; return which of the events in them are targets."""
    if isinstance(kind, LeaveOneOut):
        connection.execute(sql.load("ingest/leave_one_out"), {"min_events": kind.min_events})
        return "every"
    if isinstance(kind, SessionSplit):
        (users,) = one_row(connection, "SELECT count(*) FROM members")
        shares = {"validation": share_of(kind.validation, users), "test": share_of(kind.test, users)}
        connection.execute(sql.load("ingest/sessions", order=", ".join(order)), shares)
        return "every"
    if isinstance(kind, TemporalSplit):
        connection.execute(sql.load("ingest/temporal"), _moments(connection, kind, title=title))
        return kind.targets
    connection.execute(sql.load("ingest/held_out_users"), {"validation": kind.validation, "test": kind.test})
    return kind.targets


def _moments(connection: duckdb.DuckDBPyConnection, kind: TemporalSplit, *, title: str) -> dict[str, int]:
    """The two moments: at or after them lie the shares of the events that are held out, and for test."""
    (events, times) = one_row(connection, 'SELECT count(*), count("time") FROM interactions')
    if not times:
        raise InputError(f"{title} has no column of times, which the temporal split parts events by: name that column")
    test = share_of(kind.test, events)
    held_out = test + share_of(kind.validation, events)
    if not test or held_out == test:
        raise InputError(
            f"{title}: the temporal split of {events} events leaves none for "
            f"{'validation' if test else 'test'} at a share of {kind.validation if test else kind.test:g}: "
            "ask for a larger share, or bring a longer log"
        )
    counts = {"validation": held_out, "test": test}
    return {name: one_row(connection, sql.load("ingest/moment"), {"events": n})[0] for name, n in counts.items()}


def _described(kind: SessionSplit | TemporalSplit | UserSplit) -> str:
    return f"{kind.kind} split (shares of {kind.validation:g} for validation and {kind.test:g} for test)"


def _advice(kind: SessionSplit | TemporalSplit | UserSplit) -> str:
    if isinstance(kind, TemporalSplit):
        return (
            "events of equal time are not parted, and a target needs an earlier event of its user, "
            "so change the shares, or bring a longer log"
        )
    return "a held-out user needs 2 events, so change the shares, or bring a log of more and longer users"
