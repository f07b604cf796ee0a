"""What is asked of a snapshot that a filter made of another, beside all that is asked of every snapshot."""

from collections.abc import Iterator

import sql
from tasks.snapshots import Manifest
from tasks.validation.checks import Check, finds_none
from tasks.validation.compared import absent, unchanged
from tasks.validation.limits import CorruptedLimits


def filtered_checks(manifest: Manifest, *, limits: CorruptedLimits, compared: bool) -> Iterator[Check]:
    """With the parent at hand (`compared`, over the views `clean_…` of its files), that interactions before a user's
    first target were left out of it, as many as the manifest says, and nothing else changed.
    """
    if not compared:
        assert manifest.parent is not None
        yield absent("the snapshot that was filtered", manifest.parent, limits=limits)
        return
    yield from unchanged("those of what was filtered")
    yield finds_none(
        "every interaction is one of what was filtered",
        "interactions",
        "item",
        sql.load("validate/changed_by_deletion", kind="''"),
    )
    yield finds_none(
        "as many interactions are left out as the manifest says",
        "interactions",
        None,
        sql.load("validate/left_out", left_out=str(manifest.changes.deleted if manifest.changes else 0)),
    )
