"""What is asked of a snapshot that a filter made of another, beside all that is asked of every snapshot."""

from collections.abc import Iterator

import sql
from tasks.snapshots import Manifest
from tasks.validation.checks import Check, finds_none
from tasks.validation.limits import CorruptedLimits


def filtered_checks(manifest: Manifest, *, limits: CorruptedLimits, compared: bool) -> Iterator[Check]:
    """With the parent at hand (`compared`, over the views `clean_…` of its files), that interactions before a user's
    first target were left out of it, as many as the manifest says, and nothing else changed.
    """
    if not compared:
        assert manifest.parent is not None
        # No row of it is there, and this one expects some.
        yield finds_none(
            "the snapshot that was filtered lies beside this one, to be compared with",
            "interactions",
            None,
            sql.load("validate/clean_absent", digest=sql.literal(manifest.parent)),
            severity=limits.clean_absent.severity,
        )
        return
    for name, table, column, query in (
        ("the targets are those of what was filtered", "targets", "item", sql.load("validate/changed_targets")),
        ("the items are those of what was filtered", "items", "item_id", sql.load("validate/changed_items")),
        (
            "the users are those of what was filtered",
            "users",
            "user_id",
            sql.load("validate/changed_users", adds_users="false"),
        ),
        (
            "from a user's first target on, the events are those of what was filtered",
            "interactions",
            "item",
            sql.load("validate/changed_tails"),
        ),
        (
            "every interaction is one of what was filtered",
            "interactions",
            "item",
            sql.load("validate/changed_by_deletion", kind="''"),
        ),
        (
            "as many interactions are left out as the manifest says",
            "interactions",
            None,
            sql.load("validate/left_out", left_out=str(manifest.changes.deleted if manifest.changes else 0)),
        ),
    ):
        yield finds_none(name, table, column, query)
