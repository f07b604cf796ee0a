"""What an audit found: shares, the most suspicious interactions, users and items, each with the reason in words."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

import sql
from tasks.audit.judge import Judged
from tasks.engine import engine
from tasks.reporting.svg import isolated
from tasks.statistics import roc
from tasks.statistics.estimates import Estimate
from tasks.wording import counted, moment

LEAST_OF_USER, LEAST_OF_ITEM = 10, 5
"""Users and items with fewer judged interactions are not ranked: a mean over less says little."""

BINS = 20


@dataclass(frozen=True)
class Suspect:
    """A suspicious interaction. probability: of being noise; time in microseconds, None where the log has none; label:
    what kind of noise the log itself says that it is.
    """

    user: str
    item: str
    time: int | None
    position: int
    probability: float
    reason: str
    label: str | None

    @property
    def moment(self) -> str:
        """The time as ISO 8601, UTC, to the minute."""
        return "–" if self.time is None else moment(self.time)


@dataclass(frozen=True)
class Group:
    """A user or an item: judged interactions, how many of them are expected to be noise, their mean probability."""

    id: str
    events: int
    expected_noise: float
    probability: float
    reason: str


@dataclass(frozen=True)
class Findings:
    """judged: interactions, of so many users and items; expected_noise: their probabilities' sum; histogram [20]: how
    many have a probability of so many twentieths; auroc: by kind of labelled noise, “all” first, empty where the log
    has no labels to measure by; left_alone: interactions that were not judged, for they are held out to rank with;
    reads_high: by how much the share exceeded the truth for noise planted anew.
    """

    judged: int
    users: int
    items: int
    left_alone: int
    share: Estimate
    kinds: Mapping[str, float]
    reads_high: float
    expected_noise: float
    typical: float
    histogram: tuple[int, ...]
    auroc: Mapping[str, Estimate]
    labelled: int
    suspects: tuple[Suspect, ...]
    suspicious_users: tuple[Group, ...]
    suspicious_items: tuple[Group, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def findings(judged: Judged, *, interactions: int, top: int) -> Findings:
    """What the judgement says of a log of so many `interactions`; the `top` most suspicious of each."""
    with engine() as connection:
        file = sql.literal(str(judged.interactions))
        summary = connection.execute(sql.load("audit/summary", interactions=file)).df().iloc[0]
        bins = connection.execute(sql.load("audit/histogram", interactions=file), {"bins": BINS}).fetchall()
        suspects = connection.execute(sql.load("audit/suspects", interactions=file), {"top": top}).df()
        by_user, by_item = (_grouped(connection, judged, column) for column in ("user_id", "item_id"))
    counts = dict(bins)
    typical = float(summary["typical"])
    mean_item_events = float(summary["judged"] / summary["items"])
    auroc, labelled = _measured(judged)
    return Findings(
        judged=int(summary["judged"]),
        users=int(summary["users"]),
        items=int(summary["items"]),
        left_alone=interactions - int(summary["judged"]),
        share=judged.share,
        kinds=judged.kinds,
        reads_high=judged.reads_high,
        expected_noise=float(summary["expected_noise"]),
        typical=typical,
        histogram=tuple(int(counts.get(number, 0)) for number in range(BINS)),
        auroc=auroc,
        labelled=labelled,
        suspects=tuple(
            _suspect(row, typical=typical, mean_item_events=mean_item_events)
            for row in suspects.astype(object).where(suspects.notna(), None).to_dict("records")
        ),
        suspicious_users=_groups(by_user, summary, least=LEAST_OF_USER, top=top),
        suspicious_items=_groups(by_item, summary, least=LEAST_OF_ITEM, top=top),
    )


def write_groups(judged: Judged, folder: Path) -> None:
    """Write `users.parquet` and `items.parquet` (columns: `sql/audit/grouped.sql`) into `folder`."""
    with engine() as connection:
        for name, column in (("users", "user_id"), ("items", "item_id")):
            query = sql.load("audit/grouped", interactions=sql.literal(str(judged.interactions)), id=column)
            path = sql.literal(str(folder / f"{name}.parquet"))
            connection.execute(f"COPY ({query}) TO {path} (FORMAT parquet, COMPRESSION zstd)")


def _grouped(connection: duckdb.DuckDBPyConnection, judged: Judged, column: str) -> pd.DataFrame:
    query = sql.load("audit/grouped", interactions=sql.literal(str(judged.interactions)), id=column)
    return connection.execute(query).df()


def _groups(found: pd.DataFrame, summary: "pd.Series[Any]", *, least: int, top: int) -> tuple[Group, ...]:
    mean, typical = float(summary["expected_noise"] / summary["judged"]), float(summary["typical"])
    ranked = found[found["events"] >= least].head(top)
    return tuple(
        Group(
            id=str(row["id"]),
            events=int(row["events"]),
            expected_noise=float(row["expected_noise"]),
            probability=float(row["mean_probability"]),
            reason=_group_reason(row, mean=mean, typical=typical),
        )
        for row in ranked.to_dict("records")
    )


def _suspect(row: Mapping[Any, Any], *, typical: float, mean_item_events: float) -> Suspect:
    return Suspect(
        user=str(row["user_id"]),
        item=str(row["item_id"]),
        time=None if row["time"] is None else int(row["time"]),
        position=int(row["position"]),
        probability=float(row["noise_probability"]),
        reason=reason(row, typical=typical, mean_item_events=mean_item_events),
        label=row["label"],
    )


def reason(row: Mapping[Any, Any], *, typical: float, mean_item_events: float) -> str:
    """Why an interaction (a row of `sql/audit/suspects.sql`) is suspicious. typical: the log's median of meetings over
    those by chance.
    """
    events = int(row["item_events"])
    rare = f", and rare: {counted(events, 'event')} in the log" if events < mean_item_events else ""
    if not row["neighbours"]:
        return f"the user has no other event to compare it with{rare}"
    beside = {side: row[f"item_{side}"] for side in ("before", "after")}
    near = [f"{isolated(str(item))} {side}" for side, item in beside.items() if item is not None]
    around = f"the {counted(int(row['neighbours']), 'item')} around it ({', '.join(near)})"
    meetings, expected = int(row["meetings"]), float(row["expected_meetings"])
    usual = f"by chance {expected:.1f}, for half of all events at least {typical:.1f} times chance"
    if meetings == 0:
        return f"elsewhere never near {around}; {usual}{rare}"
    only = "only " if meetings < typical * expected else ""
    return f"elsewhere near {around} {only}{counted(meetings, 'time')}; {usual}{rare}"


def _group_reason(row: Mapping[Any, Any], *, mean: float, typical: float) -> str:
    usual = (
        f"{row['expected_noise']:.1f} of {row['events']:,} expected to be noise, {mean * row['events']:.1f} as for all"
    )
    meetings, expected = row["meetings"], row["expected_meetings"]
    if expected == 0:
        return f"{usual}; no neighbours to compare with"
    return f"{usual}; meetings with what is around {meetings / expected:.1f} times chance, typically {typical:.1f}"


def _measured(judged: Judged) -> tuple[dict[str, Estimate], int]:
    """How well the verdict tells what the log labels as noise, of all kinds and of each; how many are labelled."""
    rows = pd.read_parquet(judged.interactions, columns=["user", "noise_probability", "label"])
    noisy = rows["label"].notna().to_numpy(dtype=bool)
    if noisy.all() or not noisy.any():
        return {}, int(noisy.sum())
    suspicion = rows["noise_probability"].to_numpy(dtype=np.float64)
    users = rows["user"].to_numpy(dtype=np.int64)
    found = {"all": roc.auroc(noisy, suspicion, users)}
    kinds = rows["label"].value_counts().index
    for kind in kinds if len(kinds) > 1 else ():
        own = (rows["label"] == kind).to_numpy(dtype=bool)
        part = own | ~noisy
        found[str(kind)] = roc.auroc(own[part], suspicion[part], users[part])
    return found, int(noisy.sum())
