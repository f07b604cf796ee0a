"""What is asked of a snapshot that was made of another, over the views `clean_…` of the other's files."""

from collections.abc import Iterator

import sql
from tasks.validation.checks import Check, finds_none
from tasks.validation.limits import CorruptedLimits


def absent(what: str, digest: str, *, limits: CorruptedLimits) -> Check:
    """That the other snapshot, which is `what`, is at hand; to be asked where it is not."""
    # No row of it is there, and this one expects some.
    return finds_none(
        f"{what} lies beside this one, to be compared with",
        "interactions",
        None,
        sql.load("validate/clean_absent", digest=sql.literal(digest)),
        severity=limits.clean_absent.severity,
    )


def unchanged(whose: str, *, adds_bots: bool = False) -> Iterator[Check]:
    """That all but the events before a user's first target are `whose`, such as "the clean snapshot's", though there
    may be bots besides.
    """
    yield finds_none(f"the targets are {whose}", "targets", "item", sql.load("validate/changed_targets"))
    yield finds_none(f"the items are {whose}", "items", "item_id", sql.load("validate/changed_items"))
    yield finds_none(
        f"the users are {whose}" + (", and bots behind them" if adds_bots else ""),
        "users",
        "user_id",
        sql.load("validate/changed_users", adds_users=str(adds_bots).lower()),
    )
    yield finds_none(
        f"from a user's first target on, the events are {whose}",
        "interactions",
        "item",
        sql.load("validate/changed_tails"),
    )
