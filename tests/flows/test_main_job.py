"""The main job and what a person does with its log and its model, through the command line, on a small log."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pandas as pd
import pytest

from tasks.data_specs import ShoppersSpec
from tasks.register import REASONS
from tasks.shoppers import generate
from tasks.track import Tracker

if TYPE_CHECKING:
    from tests.flows.conftest import Workplace


LOG = ("--source", "shop.parquet", "--time-col", "time", "--noise-col", "noise")


def run(workplace: "Workplace", name: str, *more: str) -> tuple[str, dict[str, Any]]:
    output = workplace.run(
        *("flows.cli", "run", *LOG, "--methods", "sasrec-softmax,rec-denoiser"),
        *("--epochs", "2", "--dim", "16", "--length", "20", "--json", name, *more),
    )
    return output, read(workplace, name)


def read(workplace: "Workplace", name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((workplace.folder / name).read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="module")
def log(workplace: "Workplace", prefect_api: str) -> pd.DataFrame:
    """user_id, item_id, time, noise: what the commands read."""
    workplace.environment["PREFECT_API_URL"] = prefect_api
    generate(ShoppersSpec(users=120, items=60), workplace.folder / "shop.parquet")
    return pd.read_parquet(workplace.folder / "shop.parquet")


@pytest.fixture(scope="module")
def first_run(workplace: "Workplace", log: pd.DataFrame) -> tuple[str, dict[str, Any]]:
    """What the first run on the log says and writes; its model is registered afterwards."""
    return run(workplace, "first.json", "--noise", "0.3")


def test_from_a_log_to_a_registered_model_and_again_from_cache(
    workplace: "Workplace", first_run: tuple[str, dict[str, Any]]
) -> None:
    output, first = first_run
    assert [(row["method"], row["ratio"]) for row in first["rows"]] == [("sasrec-softmax", 0.3), ("rec-denoiser", 0.3)]
    # Those of the data, two trainings, what they rank and suspect, and the best's ranks with clean histories.
    assert first["steps"] == {"done": 12, "cached": 0}
    assert "Noise detection" in output
    assert "Retention" in output
    assert "rec-denoiser-shop version 1 as champion" in output
    assert "ui mlflow" in output
    assert "ui prefect" in output

    registered = first["registered"]
    (chosen,) = (cell for cell in first["cells"] if cell["method"] == registered["method"])
    parent = Tracker(workplace.home).client.get_run(first["mlflow"]["run"]).data
    offered = [f"test.full_unseen.{name}_at_10" for name in ("coverage", "novelty", "gini")]
    for name in ("test.full_unseen.ndcg_at_10", "test.sampled100.hit_at_10", *offered):
        assert parent.metrics[name] == chosen["metrics"][name]
    assert parent.tags["best.run"] == chosen["mlflow_run"]
    assert [parent.tags[f"registered.{name}"] for name in ("version", "alias", "reason")] == ["1", "champion", "first"]

    output, again = run(workplace, "again.json", "--noise", "0.3")
    assert "all 12 from cache" in output
    assert again["rows"] == first["rows"]
    assert again["registered"] == first["registered"] | {"reason": "standing", "told": REASONS["standing"]}
    assert again["mlflow"]["run"] == first["mlflow"]["run"]

    _, wider = run(workplace, "wider.json", "--noise", "0,0.3")
    assert [(row["method"], row["ratio"]) for row in wider["rows"]] == [
        ("sasrec-softmax", 0.0),
        ("sasrec-softmax", 0.3),
        ("rec-denoiser", 0.0),
        ("rec-denoiser", 0.3),
    ]
    assert wider["steps"] == {"done": 2 * 3, "cached": 12 - 1}
    for row in wider["rows"]:  # the log has labels of its own, so that there is something to detect without more noise
        gate = {"gate"} if row["method"] == "rec-denoiser" else set()
        assert row["detection"].keys() == {"own_score", "popularity"} | gate
        assert all(0.0 < area < 1.0 for area in row["detection"].values())
    assert wider["mlflow"]["run"] != first["mlflow"]["run"]
    same = {(cell["method"], cell["noise_ratio"]): cell["metrics"] for cell in wider["cells"]}
    for cell in first["cells"]:
        assert same[cell["method"], cell["noise_ratio"]] == cell["metrics"]

    (other,) = (c for c in wider["cells"] if c["noise_ratio"] == 0 and c["method"] != wider["registered"]["method"])
    kept = workplace.run("flows.cli", "register", other["mlflow_run"][:16])
    value = other["metrics"]["promotion.full_unseen.ndcg_at_10"]
    assert re.search(rf"rec-denoiser-shop version \d as (champion|challenger): {other['method']}", kept)
    assert f"its NDCG@10 for promotion is {value:.4f}" in kept


@pytest.mark.usefixtures("first_run")
def test_what_is_explained_is_what_is_recommended(workplace: "Workplace", log: pd.DataFrame) -> None:
    user = str(log["user_id"].iloc[0])
    told = workplace.run(
        *("flows.cli", "explain", "--dataset", "shop", "--user", user, "--k", "4"),
        *("--out", "why.html", "--json", "why.json"),
    )
    why = read(workplace, "why.json")
    events, offers = why["events"], why["offers"]
    assert re.search(rf"^user {user} of {len(events)} events, the newest last", told, re.MULTILINE)
    assert len(events) == (log["user_id"] == user).sum()
    assert {event["item"] for event in events} <= set(log["item_id"])
    assert {"genuine", "replace"} >= {event["label"] for event in events} - set(log["noise"])
    for offer in offers:
        assert re.search(rf"^ *{offer['score']:.4f}  {offer['item']} +\S+ [+-]\d\.\d{{3}}", told, re.MULTILINE)
        assert len(offer["influences"]) == len(events)
    page = (workplace.folder / "why.html").read_text(encoding="utf-8")
    assert all(named["item"] in page for named in (*events, *offers))
    influence = pd.read_csv(workplace.folder / "why-influence.csv")
    assert influence["influence"].tolist() == pytest.approx([lent for offer in offers for lent in offer["influences"]])
    attention = pd.read_csv(workplace.folder / "why-attention.csv")
    rows = attention.groupby(["layer", "head", "query_place"])["before"].sum()
    np.testing.assert_allclose(rows, 1, atol=1e-5)

    history = ",".join(event["item"] for event in events)
    answer = workplace.run("flows.cli", "recommend", "--dataset", "shop", "--history", history, "--k", "4")
    assert re.search(r"^rec-denoiser-shop version \d, by history:$", answer, re.MULTILINE)
    lines = [line.split() for line in answer.splitlines() if line.startswith("  ")]
    assert lines == [[f"{offer['score']:.4f}", offer["item"]] for offer in offers]
    assert len(offers) == 4


@pytest.mark.usefixtures("first_run")
def test_every_user_of_the_log_is_recommended_what_they_have_not_had(workplace: "Workplace", log: pd.DataFrame) -> None:
    told = workplace.run("flows.cli", "recommend", *LOG, "--k", "5")
    said = re.search(r"^120 users scored by rec-denoiser-shop version \d: (\S+)$", told, re.MULTILINE)
    assert said
    offered = pd.read_parquet(said[1])
    assert list(offered.columns) == ["user_id", "items", "scores", "basis"]
    histories = log.groupby("user_id")["item_id"].agg(set)
    assert sorted(offered["user_id"]) == sorted(histories.index)
    assert set(offered["basis"]) == {"history"}
    for row in offered.itertuples():
        assert len(set(row.items)) == len(row.scores) == 5
        assert set(row.items) <= set(log["item_id"]) - histories[row.user_id]
        assert list(row.scores) == sorted(row.scores, reverse=True)


def test_an_audit_tells_the_noise_and_writes_a_snapshot_without_it(
    workplace: "Workplace", log: pd.DataFrame, prefect_api: str
) -> None:
    # As on a server where nothing was run before.
    httpx.delete(f"{prefect_api}/v2/concurrency_limits/rec-denoiser-cpu")
    told = workplace.run("flows.cli", "audit", *LOG, "--top", "7", "--clean-below", "0.5", "--json", "audit.json")
    audit = read(workplace, "audit.json")
    found, folder = audit["found"], Path(audit["folder"])
    share = found["share"]
    assert 0 < share["low"] < share["value"] < share["high"] < 0.6
    assert f"Noise in shop: {100 * share['value']:.1f} % " in told
    assert found["judged"] + found["left_alone"] == len(log)
    assert f"of the {found['judged']:,} of {len(log):,} interactions" in told
    assert found["auroc"]["all"]["value"] > 0.6, "noise is told from the rest better than by chance"

    judged = pd.read_parquet(folder / "interactions.parquet")
    assert len(judged) == found["judged"]
    assert judged["noise_probability"].between(0, 1).all()
    assert judged["label"].notna().sum() == found["labelled"]
    assert [row["probability"] for row in found["suspects"]] == pytest.approx(
        judged["noise_probability"].nlargest(7).tolist()
    )
    assert sorted(pd.read_parquet(folder / "users.parquet")["id"]) == sorted(set(judged["user_id"]))
    assert sorted(pd.read_parquet(folder / "items.parquet")["id"]) == sorted(set(judged["item_id"]))
    assert found["suspects"][0]["item"] in (folder / "report.html").read_text(encoding="utf-8")

    likelier_noise = (judged["noise_probability"] > 0.5).sum()
    assert audit["cleaned"]["left_out"] == likelier_noise > 0
    kept = pd.read_parquet(Path(audit["cleaned"]["snapshot"]) / "interactions.parquet")
    assert len(kept) == len(log) - likelier_noise
    assert f"without {likelier_noise} interactions less likely genuine than 0.5" in told
    assert audit["gains"] == []


@pytest.mark.slow
@pytest.mark.usefixtures("log")
def test_an_audit_tells_what_training_on_the_clean_snapshot_gains(workplace: "Workplace") -> None:
    told = workplace.run(
        *("flows.cli", "audit", *LOG, "--clean-below", "0.5", "--gain-epochs", "1", "--json", "gains.json")
    )
    audit = read(workplace, "gains.json")
    assert [gain["metric"].split(".")[1] for gain in audit["gains"]] == ["full_unseen", "sampled100"]
    for gain in audit["gains"]:
        assert 0 < gain["as_it_is"] < 1
        assert 0 < gain["cleaned"] < 1
        assert gain["gain"]["value"] == pytest.approx(100 * (gain["cleaned"] / gain["as_it_is"] - 1))
        assert gain["gain"]["low"] < gain["gain"]["value"] < gain["gain"]["high"]
    assert "NDCG@10 on validation among all unseen items" in " ".join(told.split())
