"""An audit of a log whose noise is known: the share, the ranking, the page and the cleaned snapshot."""

import json
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from models.__main__ import BadRequest
from models.denoising.noise import auditing
from models.denoising.noise.auditing import Auditor, resampled_shares
from models.denoising.noise.judgement import shares_of_noise
from models.engine.metrics import PROTOCOLS
from models.engine.sequences import load_log
from tasks.audit.gain import compared_cells, gains
from tasks.audit.judge import Judged, interval, judge
from tasks.audit.outcome import AuditOutcome, publish_audit
from tasks.audit.specs import AuditSpec
from tasks.corrupt import corrupt
from tasks.data_specs import CorruptSpec, PrepareSpec, SourceSpec
from tasks.errors import InputError
from tasks.evaluate import Evaluated
from tasks.filter import JUDGED_BY, filtered
from tasks.home import Home
from tasks.ingest import ingest
from tasks.reporting.audit import gain_words
from tasks.sequences import export_log
from tasks.snapshots import Snapshot
from tasks.sources.source import obtain_log
from tests.tasks.builders import EXECUTION
from tests.tasks.corners import LENGTH, USERS, corners_csv
from tests.tasks.reading import text_of

Ingest = Callable[..., Snapshot]
Write = Callable[..., Path]
Read = Callable[[Path], list[tuple[Any, ...]]]


@pytest.fixture
def noisy(write_log: Write, ingest_file: Ingest) -> Snapshot:
    return ingest_file(write_log(corners_csv()), time="ts", noise="noise")


@pytest.fixture
def judged(noisy: Snapshot, home: Home, in_process: None) -> Judged:
    return judge(noisy, folder=home.steps / "audit" / "x", home=home)


def audited(judged: Judged, noisy: Snapshot, cleaned: Snapshot | None, home: Home) -> AuditOutcome:
    spec = AuditSpec(source=SourceSpec(path="corners.csv"), top=30, clean_below=0.5)
    return publish_audit(judged, noisy, cleaned, spec, gains=(), home=home)


def test_planted_noise_is_counted_told_and_ranked_first(
    judged: Judged, noisy: Snapshot, home: Home, rows_of: Read
) -> None:
    outcome = audited(judged, noisy, None, home)
    found, share = outcome.found, outcome.found.share
    rows = pd.read_parquet(judged.interactions)
    true = rows["label"].notna().mean()
    assert share.value == pytest.approx(true, abs=0.03)
    assert share.low is not None
    assert share.high is not None
    assert share.low <= share.value <= share.high < share.low + 0.15
    assert (found.auroc["all"].value or 0.0) > 0.95
    assert (found.judged, found.left_alone) == (len(rows), 2 * USERS) == (USERS * (LENGTH - 2), 2 * USERS)
    assert sum(found.histogram) == found.judged
    assert found.labelled == rows["label"].notna().sum()
    assert [suspect.label for suspect in found.suspects] == ["planted"] * 30
    first = found.suspects[0]
    here = rows[(rows["user_id"] == first.user) & (rows["position"] == first.position)].iloc[0]
    assert (first.item, first.time) == (here["item_id"], here["time"])
    name = dict(rows_of(noisy.items))
    history = [name[row[1]] for row in rows_of(noisy.interactions) if row[0] == here["user"]]
    near = {"before": first.position - 1, "after": first.position + 1}
    beside = ", ".join(f"{history[at]} {side}" for side, at in near.items() if 0 <= at < LENGTH - 2)
    assert f"({beside})" in first.reason
    worst = rows.groupby("user_id")["noise_probability"].agg(["mean", "sum"]).sort_values("mean").iloc[-1]
    assert found.suspicious_users[0].probability == pytest.approx(worst["mean"])
    assert found.suspicious_users[0].expected_noise == pytest.approx(worst["sum"])


def test_known_amounts_in_a_log_of_shoppers_are_told_apart(home: Home, in_process: None) -> None:
    clean = ingest(obtain_log(SourceSpec(), home=home), PrepareSpec(), home=home)
    told = []
    for ratio in (0.0, 0.25):
        log = corrupt(clean, CorruptSpec(ratio=ratio), home=home)
        judged = judge(log, folder=home.steps / "audit" / str(ratio), home=home)
        true = pd.read_parquet(judged.interactions)["label"].notna().mean()
        assert judged.share.value == pytest.approx(true, abs=0.05)
        told.append(judged.share)
    assert told[0].high < told[1].low
    assert told[1].low < true < told[1].high, "the estimate reads high here, and the interval has to know it"
    assert judged.reads_high > 0.02


def test_the_folder_holds_a_page_and_every_judged_event_and_is_replaced_as_a_whole(
    judged: Judged, noisy: Snapshot, home: Home
) -> None:
    earlier = audited(judged, noisy, None, home)
    (earlier.folder / "left").touch()
    outcome = audited(judged, noisy, None, home)
    names = {path.name for path in outcome.folder.iterdir()}
    assert names == {"report.html", "audit.json", "interactions.parquet", "users.parquet", "items.parquet"}
    assert [path.name for path in outcome.folder.parent.iterdir()] == ["corners"]
    page = text_of(outcome.report)
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
    judged: Judged, noisy: Snapshot, home: Home, rows_of: Read
) -> None:
    cleaned = filtered(noisy, JUDGED_BY.model_copy(update={"below": 0.5}), home=home)
    rows = pd.read_parquet(judged.interactions)
    gone = {(row.user, row.position) for row in rows.itertuples() if 1 - row.noise_probability < 0.5}
    assert len(gone) > 200
    expected = [row for row in rows_of(noisy.interactions) if (row[0], row[3]) not in gone]
    assert [(*row[:3], row[4]) for row in rows_of(cleaned.interactions)] == [(*row[:3], row[4]) for row in expected]


def test_a_log_that_is_too_small_is_refused(tiny_snapshot: Snapshot, home: Home) -> None:
    with pytest.raises(InputError, match="too small to judge: its training part has"):
        judge(tiny_snapshot, folder=home.steps / "audit" / "x", home=home)


def test_a_log_of_one_item_is_refused(write_log: Write, ingest_file: Ingest, home: Home) -> None:
    """A column of the kind of event, say, where that of items is meant: all of it would be noise, or none."""
    rows = "".join(f"u{user},view\n" for user in range(60) for _ in range(12))
    snapshot = ingest_file(write_log("user_id,item_id\n" + rows))
    with pytest.raises(InputError, match="the log has one item alone"):
        judge(snapshot, folder=home.steps / "audit" / "x", home=home)


def test_a_log_of_which_nothing_looks_genuine_is_refused(
    write_log: Write, ingest_file: Ingest, home: Home, in_process: None
) -> None:
    """With one interaction each that may be trained on, nobody has neighbours to go by."""
    draw = np.random.default_rng(1)
    rows = "".join(f"u{user},i{item}\n" for user in range(600) for item in draw.integers(400, size=3))
    snapshot = ingest_file(write_log("user_id,item_id\n" + rows))
    with pytest.raises(BadRequest, match=r"every one of the log's 600 interactions .* looks like noise"):
        judge(snapshot, folder=home.steps / "audit" / "x", home=home)


def test_a_resample_of_everyone_once_is_the_estimate_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = [torch.randn(5_000, 2, generator=generator) + shift for shift in (2.0, 1.0)]
    log = torch.randn(5_000, 2, generator=generator)
    log[:1_000] += 2.0
    alone = resampled_shares(log, noise, torch.zeros(5_000, dtype=torch.int64), resamples=2, generator=generator)
    assert alone.tolist() == pytest.approx([float(shares_of_noise(log, noise).sum())] * 2, abs=1e-3)
    many = resampled_shares(log, noise, torch.arange(5_000), resamples=200, generator=generator)
    assert 0.01 < float(many.std()) < 0.1


def test_users_are_drawn_with_all_that_they_did(noisy: Snapshot, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[torch.Tensor] = []

    def recording(*scores: Any, **options: Any) -> torch.Tensor:
        drawn.append(scores[2])
        return resampled_shares(*scores, **options)

    monkeypatch.setattr(auditing, "resampled_shares", recording)
    sequences = load_log(export_log(noisy, home=home)).sequences
    Auditor(sequences.item_count, reach=8).audit(sequences, resamples=9)
    (groups,) = drawn
    by_user = groups.view(USERS, LENGTH - 2)
    assert torch.equal(by_user, by_user[:, :1].expand_as(by_user))
    assert len(by_user[:, 0].unique()) == USERS


def test_an_interval_is_mirrored_at_the_value_and_stays_within_bounds() -> None:
    replicates = np.linspace(0.1, 0.3, 1001)
    found = interval(0.22, replicates, reads_high=0.0, users=9)
    assert (found.low, found.high, found.n) == (pytest.approx(0.145), pytest.approx(0.335), 9)
    assert interval(0.0, np.zeros(5), reads_high=0.0, users=9).high == 0.0
    assert interval(0.05, replicates, reads_high=0.0, users=9).low == 0.0


@pytest.mark.parametrize("reads_high", [0.04, -0.04])
def test_an_interval_reaches_further_on_both_sides_where_planted_noise_was_misread(reads_high: float) -> None:
    found = interval(0.22, np.linspace(0.1, 0.3, 1001), reads_high=reads_high, users=9)
    assert (found.value, found.low, found.high) == (0.22, pytest.approx(0.105), pytest.approx(0.375))


def test_what_cleaning_gains_is_that_of_the_same_users(noisy: Snapshot, home: Home, tmp_path: Path) -> None:
    spec = AuditSpec(source=SourceSpec(path="corners.csv"), clean_below=0.4, gain_epochs=3)
    kept = Snapshot(noisy.path, noisy.manifest.model_copy(update={"digest": "0" * 64}))
    as_it_is, cleaned = compared_cells(spec, noisy, kept, EXECUTION)
    assert (as_it_is.snapshot, cleaned.snapshot, cleaned.histories, cleaned.clean) == (noisy, kept, kept, noisy)
    assert (as_it_is.training, as_it_is.training.epochs) == (cleaned.training, 3)
    assert (as_it_is.spec.filter.by, cleaned.spec.filter.below) == ("none", 0.4)
    draw = np.random.default_rng(0)
    before = {protocol: draw.integers(0, 20 + number, 200) for number, protocol in enumerate(PROTOCOLS)}
    ranks = {"before": before, "after": {protocol: np.maximum(of - 2, 0) for protocol, of in before.items()}}
    for name, values in ranks.items():
        columns = {f"rank_{protocol}": np.concatenate([of, 0 * of]) for protocol, of in values.items()}
        rows = {"target": np.arange(400), "user": np.arange(400) % 200, "split": np.repeat(["validation", "test"], 200)}
        (tmp_path / name).mkdir()
        pd.DataFrame(rows | columns).to_parquet(tmp_path / name / "ranks.parquet")
    found = gains(Evaluated(tmp_path / "before"), Evaluated(tmp_path / "after"))
    for each, protocol in zip(found, ("full_unseen", "sampled100"), strict=True):
        own = [values[protocol] for values in ranks.values()]
        means = [np.where(ranked < 10, 1 / np.log2(ranked + 2), 0).mean() for ranked in own]
        assert each.metric == f"validation.{protocol}.ndcg_at_10"
        assert (each.as_it_is, each.cleaned) == pytest.approx(tuple(means))
        assert each.gain.value == pytest.approx(100 * (means[1] / means[0] - 1))
    change = found[0].gain
    assert change.low is not None
    assert change.high is not None
    assert 0 < change.low < change.value < change.high
    said = f"{found[0].as_it_is:.4f} on the log as it is, {found[0].cleaned:.4f} on the cleaned one"
    assert f"among all unseen items: {said}, {change.value:+.1f} % (" in gain_words(found[0])
    assert "among 100 sampled items: " in gain_words(found[1])
    lost = replace(found[0], gain=replace(change, value=-0.9, low=-32.8))
    assert "−0.9 % (−32.8 to +" in gain_words(lost), "signs as in a study's report"
    few = replace(change, low=None, high=None, reason="its denominator rests on few users")
    assert gain_words(replace(found[0], gain=few)).endswith(
        f"{change.value:+.1f} %, without an interval: its denominator rests on few users"
    )
    none = replace(few, value=None, reason="the value is undefined: its denominator is 0")
    assert gain_words(replace(found[0], gain=none)).endswith(
        f"{said}; what is gained cannot be said: the value is undefined: its denominator is 0"
    )
    with pytest.raises(ValueError, match="there is no cleaned log"):
        AuditSpec(gain_epochs=3)
