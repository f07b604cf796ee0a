"""The main job through the command line, as a person would run it, on a small log."""

import json
import re
from typing import TYPE_CHECKING, Any

from tasks.shoppers import generate
from tasks.specs import ShoppersSpec

if TYPE_CHECKING:
    from tests.flows.conftest import Workplace


def run(workplace: "Workplace", name: str, *more: str) -> tuple[str, dict[str, Any]]:
    output = workplace.run(
        *("flows.cli", "run", "--source", "shop.parquet", "--time-col", "time", "--noise-col", "noise"),
        *("--methods", "sasrec-softmax,rec-denoiser", "--epochs", "2", "--dim", "16", "--length", "20"),
        *("--json", name, *more),
    )
    return output, json.loads((workplace.folder / name).read_text(encoding="utf-8"))


def test_from_a_log_to_a_registered_model_and_again_from_cache(workplace: "Workplace", prefect_api: str) -> None:
    workplace.environment["PREFECT_API_URL"] = prefect_api
    generate(ShoppersSpec(users=120, items=60), workplace.folder / "shop.parquet")
    output, first = run(workplace, "first.json", "--noise", "0.3")
    assert [(row["method"], row["ratio"]) for row in first["rows"]] == [("sasrec-softmax", 0.3), ("rec-denoiser", 0.3)]
    # Those of the data, two trainings, what they rank and suspect, and the best's ranks with clean histories.
    assert first["steps"] == {"done": 12, "cached": 0}
    assert "Noise detection" in output
    assert "Retention" in output
    assert "rec-denoiser-shop version 1 as champion" in output
    assert "ui mlflow" in output
    assert "ui prefect" in output

    output, again = run(workplace, "again.json", "--noise", "0.3")
    assert "all 12 from cache" in output
    assert again["rows"] == first["rows"]
    assert again["registered"] == first["registered"] | {"reason": "standing"}
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
