"""An audit of a log whose noise is known: the share, the ranking, the page and the cleaned snapshot."""

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from models import filter as by_model
from models.audit import audit_log
from models.denoising.noise.auditing import resampled_shares
from models.denoising.noise.judgement import share_of_noise
from tasks import filter as filtering
from tasks.audit import judge as judging
from tasks.audit.judge import JUDGED_BY, PROGRAM, Judged, interval, judge
from tasks.audit.outcome import AuditOutcome, publish_audit
from tasks.audit.specs import AuditSpec
from tasks.errors import InputError
from tasks.filter import filtered
from tasks.home import Home
from tasks.snapshots import Snapshot
from tests.tasks.corners import LENGTH, USERS, corners_csv

Ingest = Callable[..., Snapshot]
Write = Callable[..., Path]
Read = Callable[[Path], list[tuple[Any, ...]]]


@pytest.fixture
def noisy(write_log: Write, ingest_file: Ingest) -> Snapshot:
    return ingest_file(write_log(corners_csv()), time="ts", noise="noise")


@pytest.fixture
def judged(noisy: Snapshot, home: Home, monkeypatch: pytest.MonkeyPatch) -> Judged:
    def run(verb: str, request: dict[str, Any], *, on_epoch: Any, program: str) -> dict[str, Any]:
        assert (verb, program) == ("audit", PROGRAM)
        return audit_log(dict(request))

    monkeypatch.setattr(judging, "run_worker", run)
    return judge(noisy, folder=home.steps / "audit" / "x", home=home)


def audited(judged: Judged, noisy: Snapshot, cleaned: Snapshot | None, home: Home) -> AuditOutcome:
    return publish_audit(judged, noisy, cleaned, AuditSpec(dataset="corners", top=30, clean_below=0.5), home=home)


def test_planted_noise_is_counted_told_and_ranked_first(judged: Judged, noisy: Snapshot, home: Home) -> None:
    outcome = audited(judged, noisy, None, home)
    found, share = outcome.found, outcome.found.share
    rows = pd.read_parquet(judged.interactions)
    true = rows["label"].notna().mean()
    assert share.value == pytest.approx(true, abs=0.03)
    assert share.low is not None
    assert share.high is not None
    assert share.low <= share.value <= share.high < share.low + 0.1
    assert (found.auroc["all"].value or 0.0) > 0.95
    assert (found.judged, found.left_alone) == (len(rows), 2 * USERS) == (USERS * (LENGTH - 2), 2 * USERS)
    assert sum(found.histogram) == found.judged
    assert found.labelled == rows["label"].notna().sum()
    assert [suspect.label for suspect in found.suspects] == ["planted"] * 30
    first = found.suspects[0]
    here = rows[(rows["user_id"] == first.user) & (rows["position"] == first.position)].iloc[0]
    assert (first.item, first.time) == (here["item_id"], here["time"])
    assert "elsewhere never near the" in first.reason or "elsewhere near the" in first.reason
    assert f"{here['item_before']} before" in first.reason or here["item_before"] is None
    worst = rows.groupby("user_id")["noise_probability"].agg(["mean", "sum"]).sort_values("mean").iloc[-1]
    assert found.suspicious_users[0].probability == pytest.approx(worst["mean"])
    assert found.suspicious_users[0].expected_noise == pytest.approx(worst["sum"])


def test_the_folder_holds_a_page_and_every_judged_event_and_is_replaced_as_a_whole(
    judged: Judged, noisy: Snapshot, home: Home
) -> None:
    earlier = audited(judged, noisy, None, home)
    (earlier.folder / "left").touch()
    outcome = audited(judged, noisy, None, home)
    names = {path.name for path in outcome.folder.iterdir()}
    assert names == {"report.html", "audit.json", "interactions.parquet", "users.parquet", "items.parquet"}
    assert [path.name for path in outcome.folder.parent.iterdir()] == ["corners"]
    page = outcome.report.read_text(encoding="utf-8")
    HTMLParser().feed(page)
    assert page.startswith("<!DOCTYPE html>")
    assert "http://" not in page
    assert outcome.found.suspects[0].user in page
    assert f"{100 * (outcome.found.share.value or 0):.1f} %" in page
    assert len(pd.read_parquet(outcome.folder / "interactions.parquet")) == outcome.found.judged
    users = pd.read_parquet(outcome.folder / "users.parquet")
    assert (len(users), users["events"].sum()) == (USERS, outcome.found.judged)
    told = json.loads((outcome.folder / "audit.json").read_text(encoding="utf-8"))
    assert told == json.loads(json.dumps(outcome.to_dict()))


def test_a_cleaned_snapshot_lacks_what_the_audit_tells_of(
    judged: Judged, noisy: Snapshot, home: Home, rows_of: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filtering, "run_worker", lambda _, request, **__: by_model.judge_log(dict(request)))
    cleaned = filtered(noisy, JUDGED_BY.model_copy(update={"below": 0.5}), home=home)
    rows = pd.read_parquet(judged.interactions)
    gone = {(row.user, row.position) for row in rows.itertuples() if 1 - row.noise_probability < 0.5}
    assert len(gone) > 200
    expected = [row for row in rows_of(noisy.interactions) if (row[0], row[3]) not in gone]
    assert [(*row[:3], row[4]) for row in rows_of(cleaned.interactions)] == [(*row[:3], row[4]) for row in expected]


def test_a_log_that_is_too_small_is_refused(tiny_snapshot: Snapshot, home: Home) -> None:
    with pytest.raises(InputError, match="too small to judge: its training part has"):
        judge(tiny_snapshot, folder=home.steps / "audit" / "x", home=home)


def test_a_resample_of_everyone_once_is_the_estimate_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = [torch.randn(5_000, 2, generator=generator) + shift for shift in (2.0, 1.0)]
    log = torch.randn(5_000, 2, generator=generator)
    log[:1_000] += 2.0
    first = share_of_noise(log[:, 0], noise[0][:, 0])
    second = share_of_noise(log[:, 1], noise[1][:, 1], [(first, noise[0][:, 1])])
    alone = resampled_shares(log, noise, torch.zeros(5_000, dtype=torch.int64), resamples=2, generator=generator)
    assert alone.tolist() == pytest.approx([float(first + second)] * 2, abs=1e-3)
    many = resampled_shares(log, noise, torch.arange(5_000), resamples=200, generator=generator)
    assert 0.01 < float(many.std()) < 0.1


def test_an_interval_is_mirrored_at_the_value_and_stays_within_bounds() -> None:
    replicates = np.linspace(0.1, 0.3, 1001)
    found = interval(0.22, replicates, users=9)
    assert (found.low, found.high, found.n) == (pytest.approx(0.145), pytest.approx(0.335), 9)
    assert interval(0.0, np.zeros(5), users=9).high == 0.0
    assert interval(0.05, replicates, users=9).low == 0.0
