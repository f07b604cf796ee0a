"""What is asked of a snapshot with noise put into it on purpose, beside all that is asked of every snapshot."""

from collections.abc import Iterator

import duckdb

import sql
from tasks.data_specs import CorruptSpec
from tasks.snapshots import Manifest
from tasks.validation.checks import Check, finds_none
from tasks.validation.compared import absent, unchanged
from tasks.validation.limits import CorruptedLimits


def prepare_comparison(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the table that the comparison reads, over the views `clean_…` of the clean snapshot's files."""
    connection.execute(sql.load("validate/clean_open"))


def corrupted_checks(manifest: Manifest, *, limits: CorruptedLimits, compared: bool) -> Iterator[Check]:
    """How much noise there is, and where; with the clean snapshot at hand (`compared`), that nothing else changed."""
    spec = CorruptSpec.model_validate(manifest.spec["corrupt"])
    if not spec.taken_out and (spec.kind != "delete" or compared):
        yield _ratio(spec, manifest, limits=limits)
    if spec.taken_out:
        yield finds_none(
            "noise is left of a user only where it is all that comes before the first target",
            "interactions",
            "noise_kind",
            sql.load("validate/noise_left", kind=sql.literal(spec.kind)),
        )
    yield finds_none(
        "noise is put only before a user's first target",
        "interactions",
        "noise_kind",
        sql.load("validate/noise_outside_open", kind=sql.literal(spec.kind)),
    )
    if not compared:
        yield absent("the clean snapshot", manifest.clean, limits=limits)
        return
    yield from unchanged("the clean snapshot's", adds_bots=spec.kind == "bots")
    yield finds_none(
        "the interactions that are not labelled are the clean snapshot's", "interactions", "item", _kept(spec)
    )


def _ratio(spec: CorruptSpec, manifest: Manifest, *, limits: CorruptedLimits) -> Check:
    tolerance = repr(limits.noise_ratio.tolerance)
    asked = repr(spec.ratio)
    stated = "null" if manifest.realised_ratio is None else repr(manifest.realised_ratio)
    if spec.kind == "delete":
        query = sql.load("validate/deleted_ratio", asked=asked, manifest=stated, tolerance=tolerance)
        name = f"the share of the open events that were deleted is {spec.ratio:g}"
    else:
        query = sql.load(
            "validate/noise_ratio", kind=sql.literal(spec.kind), asked=asked, manifest=stated, tolerance=tolerance
        )
        name = f"the share of the open events that are noise ({spec.kind}) is {spec.ratio:g}"
    return finds_none(name, "interactions", "noise_kind", query, severity=limits.noise_ratio.severity)


def _kept(spec: CorruptSpec) -> str:
    """The query for events that a kind of noise should have left alone."""
    if spec.taken_out:
        return sql.load("validate/changed_by_deletion", kind=sql.literal(spec.kind))
    match spec.kind:
        case "replace" | "popular" | "swap":
            return sql.load("validate/changed_in_place", kind=sql.literal(spec.kind))
        case "insert" | "burst" | "sharing" | "bots":
            return sql.load("validate/changed_around", kind=sql.literal(spec.kind))
        case "delete":
            return sql.load("validate/changed_by_deletion", kind=sql.literal(spec.kind))
