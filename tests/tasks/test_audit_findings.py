"""What an audit tells of a judged log: in which order, and with which reasons, by made-up judgements."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tasks.audit.findings import Findings, findings, reason
from tasks.audit.judge import INTERACTIONS_FILE, Judged

EVENT = {
    "user": 0, "user_id": "ada", "item_id": "tea", "time": None, "position": 0, "noise_probability": 0.1,
    "neighbours": 16, "meetings": 9.0, "expected_meetings": 5.0, "item_events": 50, "item_before": "milk",
    "item_after": "cake", "label": None,
}  # fmt: skip


def told(folder: Path, *events: dict[str, Any], top: int = 20) -> Findings:
    """The findings of a log of these events, each of which says what it has that is unlike `EVENT`."""
    rows = pd.DataFrame([EVENT | event for event in events])
    rows.astype({"time": "Int64", "label": "string"}).to_parquet(folder / INTERACTIONS_FILE)
    share = {"value": 0.1, "low": 0.05, "high": 0.2, "level": 0.95, "basis": "", "n": 9, "reason": None}
    (folder / "share.json").write_text(json.dumps({"share": share, "kinds": {"uniform": 0.1}, "reads_high": 0.0}))
    return findings(Judged(folder), interactions=len(rows) + 4, top=top)


def test_of_equally_probable_ones_those_come_first_that_meet_least_of_what_chance_would(tmp_path: Path) -> None:
    """Many have a probability of 1. What everyone has meets most by chance, and so falls short of it by most."""
    found = told(
        tmp_path,
        {"item_id": "likely", "noise_probability": 0.9, "meetings": 0.0, "expected_meetings": 90.0},
        {"item_id": "half", "noise_probability": 1.0, "meetings": 20.0, "expected_meetings": 40.0},
        {"item_id": "never", "noise_probability": 1.0, "meetings": 0.0, "expected_meetings": 3.0},
        {"item_id": "alone", "noise_probability": 1.0, "neighbours": 0, "meetings": 0.0, "expected_meetings": 0.0},
        {"item_id": "fits"},
    )
    assert [suspect.item for suspect in found.suspects] == ["never", "half", "alone", "likely", "fits"]
    assert [suspect.item for suspect in told(tmp_path, {"item_id": "fits"}, {}, top=1).suspects] == ["fits"]


AROUND = "the 16 items around it (milk before, cake after)"
RARE = "and rare: 1 event in the log"
USUAL = "for half of all events at least 1.7 times chance"


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            {"meetings": 7.0, "expected_meetings": 24.2},
            f"elsewhere near {AROUND} only 7 times; by chance 24.2, {USUAL}",
        ),
        (
            {"meetings": 42.0, "expected_meetings": 24.2},
            f"elsewhere near {AROUND} 42 times; by chance 24.2, {USUAL}",
        ),
        (
            {"meetings": 0.0, "expected_meetings": 0.4, "neighbours": 1, "item_before": None, "item_events": 1},
            f"elsewhere never near the 1 item around it (cake after); by chance 0.4, {USUAL}, {RARE}",
        ),
        (
            {"meetings": 0.0, "expected_meetings": 0.0, "neighbours": 0, "item_before": None, "item_after": None},
            "the user has no other event to compare it with",
        ),
    ],
)
def test_the_reason_of_an_interaction_tells_what_it_was_judged_by(event: dict[str, Any], expected: str) -> None:
    assert reason(EVENT | event, typical=1.7, mean_item_events=8.0) == expected


def test_users_and_items_are_ranked_by_their_mean_where_they_have_enough_events(tmp_path: Path) -> None:
    def events(count: int, **event: Any) -> list[dict[str, Any]]:
        return [event | {"position": number} for number in range(count)]

    found = told(
        tmp_path,
        *events(9, user_id="few", item_id="a", noise_probability=1.0),
        *events(10, user_id="noisy", item_id="b", noise_probability=0.5, meetings=2.0),
        *events(30, user_id="quiet", item_id="c", noise_probability=0.1),
        *events(4, user_id="quiet", item_id="rare", noise_probability=0.9),
    )
    assert [(user.id, user.events) for user in found.suspicious_users] == [("noisy", 10), ("quiet", 34)]
    assert [(item.id, item.events) for item in found.suspicious_items] == [("a", 9), ("b", 10), ("c", 30)]
    noisy = found.suspicious_users[0]
    assert (noisy.expected_noise, noisy.probability) == (pytest.approx(5.0), pytest.approx(0.5))
    expected_of_all = 10 * (9 + 5 + 3 + 3.6) / 53
    assert noisy.reason == (
        f"5.0 of 10 expected to be noise, {expected_of_all:.1f} as for all; meetings with what is around 0.4 times "
        f"chance, typically {9.3 / 5.3:.1f}"
    )
    assert (found.judged, found.left_alone, found.users, found.items) == (53, 4, 3, 4)
    assert found.expected_noise == pytest.approx(20.6)
    assert sum(found.histogram) == 53
    assert [(place, count) for place, count in enumerate(found.histogram) if count] == [
        (2, 30), (10, 10), (18, 4), (19, 9)
    ]  # fmt: skip
