"""What must hold of a split for nothing of what is predicted to have been seen: all of it critical."""

from collections.abc import Iterator
from typing import assert_never

import sql
from tasks.data_specs import LeaveOneOut, PrepareSpec, SessionSplit, TemporalSplit, UserSplit
from tasks.validation.checks import Check, finds_none


def split_checks(prepare: PrepareSpec, *, changed: bool, has_times: bool) -> Iterator[Check]:
    """The rules of the split that was asked for.

    Those about moments are for logs as they were prepared: noise is put between events, and what neither it nor a
    filter may touch is compared with the parent. They rest on the tables `histories` and `ranked`.
    """
    match prepare.split:
        case LeaveOneOut():
            yield _rule(
                "a ranked user's last event is the test target and the one before it that of validation or promotion",
                sql.load("validate/split_last_events"),
            )
        case SessionSplit():
            yield from _held_out_users("every")
            if has_times and not changed:
                yield finds_none(
                    "users begin in the order of the parts: training, validation, test",
                    "interactions",
                    "time",
                    sql.load("validate/split_session_order"),
                )
        case TemporalSplit():
            if has_times and not changed:
                yield from _moments()
        case UserSplit(targets=targets):
            yield from _held_out_users(targets)
        case _:
            assert_never(prepare.split)
    yield _rule("nobody is in validation and in promotion", sql.load("validate/shared_promotion"))


def _held_out_users(targets: str) -> Iterator[Check]:
    yield _rule("a held-out user has no training positions", sql.load("validate/split_held_out_trained"))
    yield _rule("a held-out user is in one split", sql.load("validate/split_users_in_two"))
    if targets == "every":
        yield _rule(
            "all of a held-out user's events up to the last are targets", sql.load("validate/split_every_event")
        )
    else:
        yield _rule("a held-out user's last event is the one target", sql.load("validate/split_last_event"))


def _moments() -> Iterator[Check]:
    yield finds_none(
        "every training event is earlier than every target",
        "interactions",
        "time",
        sql.load("validate/split_moments_training"),
    )
    yield _rule("every validation target is earlier than every test target", sql.load("validate/split_moments_targets"))


def _rule(name: str, query: str) -> Check:
    return finds_none(name, "targets", "split", query)
