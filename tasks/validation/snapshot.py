"""The suite for snapshots: what makes one, what its preparation promised, and what is plausible."""

from collections.abc import Iterator, Mapping
from datetime import datetime

import duckdb

import sql
from tasks.data_specs import PrepareSpec
from tasks.snapshots import Manifest
from tasks.validation.checks import (
    Check,
    between,
    finds_few,
    finds_none,
    list_literal,
    not_null,
    row_count,
    unique,
)
from tasks.validation.limits import Severity, SnapshotLimits
from tasks.validation.splits import split_checks

COLUMNS: Mapping[str, Mapping[str, str]] = {
    "interactions": {
        "user": "INTEGER",
        "item": "INTEGER",
        "time": "BIGINT",
        "position": "INTEGER",
        "noise_kind": "VARCHAR",
    },
    "targets": {
        "target": "INTEGER",
        "user": "INTEGER",
        "item": "INTEGER",
        "split": "VARCHAR",
        "history": "INTEGER",
    },
    "users": {"user": "INTEGER", "user_id": "VARCHAR", "train_length": "INTEGER"},
    "items": {"item": "INTEGER", "item_id": "VARCHAR"},
}
"""The tables of a snapshot, in the order in which they are checked: column to DuckDB type."""

SPLITS = ("validation", "promotion", "test")


def structure_checks() -> tuple[Check, ...]:
    """The tables have their columns. Where they have not, nothing else can be asked."""
    return tuple(_columns_check(table) for table in COLUMNS)


def prepare_tables(
    connection: duckdb.DuckDBPyConnection, manifest: Manifest, *, limits: SnapshotLimits, now: datetime
) -> None:
    """Make the tables that the checks read, each in one pass over the views of the snapshot's files."""
    earliest, latest = limits.times.range(now)
    prepare = prepare_of(manifest)
    connection.execute(
        sql.load("validate/suspects"),
        {
            "last_user": manifest.counts.users - 1,
            "last_item": manifest.counts.items,
            "has_times": manifest.has_times,
            "labelled": manifest.labelled,
            "consecutive": prepare.duplicates != "consecutive" or is_changed(manifest),
            "earliest": earliest,
            "latest": latest,
        },
    )
    if manifest.has_times:
        connection.execute(sql.load("validate/ties"))
    connection.execute(sql.load("validate/histories"))
    connection.execute(sql.load("validate/catalogue"))
    connection.execute(sql.load("validate/ranked"))
    connection.execute(sql.load("validate/labels"))


def snapshot_checks(manifest: Manifest, *, limits: SnapshotLimits) -> tuple[Check, ...]:
    """All expectations for a snapshot, over the tables that `prepare_tables` makes."""
    prepare, changed = prepare_of(manifest), is_changed(manifest)
    return (
        *_interaction_checks(manifest),
        *(_time_checks(limits) if manifest.has_times else (_no_times(),)),
        *(() if changed else _preparation_checks(prepare, manifest)),
        *_noise_checks(manifest, limits=limits),
        *_target_checks(manifest, prepare, limits=limits),
        *split_checks(prepare, changed=changed, has_times=manifest.has_times),
        *_user_checks(manifest),
        *_item_checks(manifest, limits=limits),
    )


def prepare_of(manifest: Manifest) -> PrepareSpec:
    """How the snapshot was prepared."""
    return PrepareSpec.model_validate(manifest.spec.get("prepare", {}))


def is_changed(manifest: Manifest) -> bool:
    """Have interactions been put into the log that was prepared, or left out of it?"""
    return manifest.has_injected_noise or "filter" in manifest.spec


def _columns_check(table: str) -> Check:
    columns = COLUMNS[table]
    query = sql.load(
        "validate/column_types",
        table=table,
        columns=list_literal(columns),
        types=list_literal(columns.values()),
    )
    return finds_none(f"the table {table} has its columns with their types", table, None, query)


def _interaction_checks(manifest: Manifest) -> Iterator[Check]:
    counts = manifest.counts
    yield row_count("interactions", counts.interactions)
    for column in ("user", "item", "position"):
        yield _no_suspect(f"the {column} is never null", column, f"no_{column}", shown=_PLACE)
    yield _no_suspect(f"the user is a known one (0 to {counts.users - 1:,})", "user", "unknown_user", shown=_PLACE)
    yield _no_suspect(
        f"the item is a known one and not the padding item 0 (1 to {counts.items:,})",
        "item",
        "unknown_item",
        shown=_PLACE,
    )
    yield _no_suspect(
        "interactions are stored by user, then by position",
        "position",
        "disordered",
        shown=("position", "position_before"),
    )
    yield _no_suspect("a user has one interaction at a position", "position", "repeated", shown=("position",))
    yield _no_suspect(
        "a user's positions run from 0 without gaps", "position", "gap", shown=("position", "expected_position")
    )


def _time_checks(limits: SnapshotLimits) -> Iterator[Check]:
    yield _no_suspect("the time is never null", "time", "no_time", shown=("position", "time"))
    yield _no_suspect(
        "a user's times do not run backwards", "time", "backwards", shown=("position", "time", "time_before")
    )
    yield _no_suspect(
        f"times lie between {limits.times.earliest} and now",
        "time",
        "implausible_time",
        shown=("position", "time"),
        severity=limits.times.severity,
    )
    yield finds_none(
        f"nobody has more than {limits.events_per_day.most:,} events in a day",
        "interactions",
        "time",
        sql.load("validate/busy_users", most=str(limits.events_per_day.most)),
        severity=limits.events_per_day.severity,
    )
    yield finds_few(
        f"at most {limits.duplicates.largest_share:.3g} of the events repeat a user's item at the same time",
        "interactions",
        None,
        sql.load("validate/duplicates"),
        largest_share=limits.duplicates.largest_share,
        severity=limits.duplicates.severity,
    )


def _no_times() -> Check:
    return _no_suspect("a log without times has none", "time", "unexpected_time", shown=("position", "time"))


def _preparation_checks(prepare: PrepareSpec, manifest: Manifest) -> Iterator[Check]:
    """What the preparation was asked to make true of the events, as far as it outlasts that people are forgotten: the
    items that they had are left with fewer events.
    """
    if prepare.user_core > 1:
        query = sql.load("validate/rare", counted="histories", id="user_id", least=str(prepare.user_core))
        yield finds_none(f"every user has at least {prepare.user_core} events, as asked", "users", "user_id", query)
    if prepare.item_core > 1 and "forget" not in manifest.spec:
        query = sql.load("validate/rare", counted="catalogue", id="item_id", least=str(prepare.item_core))
        yield finds_none(f"every item has at least {prepare.item_core} events, as asked", "items", "item_id", query)
    match prepare.duplicates:
        case "exact" if manifest.has_times:
            yield finds_none(
                "no event repeats a user's item at the same time, as asked",
                "interactions",
                "item",
                sql.load("validate/duplicates"),
            )
        case "consecutive":
            yield _no_suspect(
                "no event repeats the item just before, as asked", "item", "same_item", shown=("position",)
            )
        case "first" | "last":
            yield finds_none(
                "a user has an item once, as asked", "interactions", "item", sql.load("validate/repeated_items")
            )


def _noise_checks(manifest: Manifest, *, limits: SnapshotLimits) -> Iterator[Check]:
    counts = manifest.counts
    yield finds_none(
        "the numbers of training positions and of noisy ones are the manifest's",
        "interactions",
        "noise_kind",
        sql.load("validate/training_counts", training=str(counts.training), noisy=str(counts.noisy)),
    )
    if manifest.labelled:
        injected = {str(manifest.spec["corrupt"]["kind"])} if manifest.has_injected_noise else set()
        known = sorted({*limits.noise_kinds.known, *injected})
        yield finds_none(
            f"the kind of noise is a known one ({', '.join(known)})",
            "interactions",
            "noise_kind",
            sql.load("validate/unknown_kinds", known=list_literal(known)),
            severity=limits.noise_kinds.severity,
        )
    else:
        yield _no_suspect(
            "a log without noise labels has none", "noise_kind", "unexpected_label", shown=("position", "noise_kind")
        )


def _target_checks(manifest: Manifest, prepare: PrepareSpec, *, limits: SnapshotLimits) -> Iterator[Check]:
    table, counts = "targets", manifest.counts
    yield row_count(table, counts.targets_validation + counts.targets_promotion + counts.targets_test)
    for column in ("target", "split"):  # a null in another column is no interaction's, and found below
        yield not_null(table, column)
    yield unique(table, "target")
    yield Check(
        "the split is validation, promotion or test",
        table,
        "split",
        "ExpectColumnValuesToBeInSet",
        {"column": "split", "value_set": list(SPLITS)},
    )
    yield finds_none(
        "each split has the manifest's number of targets",
        table,
        "split",
        sql.load(
            "validate/split_counts",
            validation=str(counts.targets_validation),
            promotion=str(counts.targets_promotion),
            test=str(counts.targets_test),
        ),
    )
    asked = [split for split in SPLITS if split != "promotion" or prepare.promotion > 0]
    yield finds_none(
        f"each split has at least {limits.split_size.least:,} targets",
        table,
        "split",
        sql.load("validate/small_splits", splits=list_literal(asked), least=str(limits.split_size.least)),
        severity=limits.split_size.severity,
    )
    yield finds_few(
        f"at most {limits.unseen_targets.largest_share:.3g} of the targets are items of no training event",
        table,
        "item",
        sql.load("validate/unseen_targets"),
        largest_share=limits.unseen_targets.largest_share,
        severity=limits.unseen_targets.severity,
    )
    yield finds_none(
        "a target's item is the interaction at its position", table, "item", sql.load("validate/target_items")
    )
    yield finds_none("every target has a history", table, "history", sql.load("validate/no_history"))
    yield finds_none(
        "no target lies among the training positions",
        table,
        "history",
        sql.load("validate/leaked_targets"),
    )


def _user_checks(manifest: Manifest) -> Iterator[Check]:
    table = "users"
    yield row_count(table, manifest.counts.users)
    for column in ("user", "user_id"):
        yield not_null(table, column)
        yield unique(table, column)
    yield between("users are numbered from 0", table, "user", 0, manifest.counts.users - 1)
    yield finds_none(
        "a user's training part is no longer than the user's log",
        table,
        "train_length",
        sql.load("validate/train_lengths"),
    )


def _item_checks(manifest: Manifest, *, limits: SnapshotLimits) -> Iterator[Check]:
    table = "items"
    yield row_count(table, manifest.counts.items)
    for column in ("item", "item_id"):
        yield not_null(table, column)
        yield unique(table, column)
    yield between("items are numbered from 1", table, "item", 1, manifest.counts.items)
    yield finds_few(
        f"at most {limits.unseen_items.largest_share:.3g} of the items are in no training event",
        table,
        "item",
        sql.load("validate/unseen_items"),
        largest_share=limits.unseen_items.largest_share,
        severity=limits.unseen_items.severity,
    )


_PLACE = ("user", "position", "item")  # where a raw id may be missing, the numbers say which row it is


def _no_suspect(name: str, column: str, flag: str, *, shown: tuple[str, ...], severity: Severity = "critical") -> Check:
    """No interaction is in the table `suspects` with that flag."""
    columns = ", ".join(f"suspects.{sql.quoted(each)}" for each in shown)
    query = sql.load("validate/suspect", flag=flag, columns=columns)
    return finds_none(name, "interactions", column, query, severity=severity)
