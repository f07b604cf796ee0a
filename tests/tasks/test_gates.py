"""What a training's gate has come to: its figures, and their place in a study's result and report."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.catalogue import build
from models.config import ModelConfig
from models.denoising.denoised import Denoised
from models.denoising.gates import PositionalGate
from models.storage import save_model
from tasks.gates import GateLayer, gate_csv, gate_layers, gate_metrics
from tasks.reporting.analysis import analysed
from tasks.reporting.figures import figures
from tasks.study.result import StudyResult
from tasks.train import Trained
from tests.tasks.study_results import study


def saved(folder: Path, gate: str) -> Trained:
    """A model of length 3 whose first layer keeps all and whose second is closed one step back."""
    config = ModelConfig(dim=8, length=3, gate=gate)
    model = build(config, 20, seed=1)
    if isinstance(model, Denoised) and isinstance(model.gate, PositionalGate):
        with torch.no_grad():
            model.gate.phi.fill_(2.0)
            model.gate.phi[1, 2, 1] = -1.0
        model.gate.seen[2, 2], model.gate.seen[2, 1] = 3, 1
    save_model(model, config, folder, item_count=20)
    (folder / "result.json").write_text("{}")
    return Trained(folder)


def test_the_layers_of_a_trained_gate(tmp_path: Path) -> None:
    first, second = gate_layers(saved(tmp_path, "positional"))
    open_, closed = (1 / (1 + 2.718281828**-logit) for logit in (2.0, -1.0))
    assert (first.layer, first.open_share) == (1, 1.0)
    assert first.keep_by_distance == (pytest.approx(open_), pytest.approx(open_), None)
    assert (second.layer, second.open_share) == (2, 0.75)
    assert second.mean_keep == pytest.approx((3 * open_ + closed) / 4)
    assert second.keep_by_distance == (pytest.approx(open_), pytest.approx(closed), None)
    metrics = gate_metrics((first, second))
    assert metrics["gate.layer_2.open_share"] == 0.75
    assert set(metrics) == {f"gate.layer_{n}.{name}" for n in (1, 2) for name in ("mean_keep", "open_share")}
    lines = gate_csv((first, second)).splitlines()
    assert lines[0] == "layer,distance,keep"
    assert [line.split(",")[:2] for line in lines[1:]] == [[str(n), str(apart)] for n in (1, 2) for apart in range(3)]
    assert lines[-1] == "2,2,"


@pytest.mark.parametrize("gate", ["none", "fixed-random", "contextual"])
def test_without_a_gate_over_positions_there_are_none(tmp_path: Path, gate: str) -> None:
    assert gate_layers(saved(tmp_path, gate)) == ()


def test_a_study_with_a_gate_shows_what_it_keeps_and_one_without_does_not() -> None:
    result, ranks = study(ratios=(0.0,))
    layers = {
        seed: (GateLayer(1, 0.9, 1.0, (0.9, 0.8)), GateLayer(2, 0.1 * seed, 0.5, (0.1 * seed, None))) for seed in (1, 2)
    }
    cells = tuple(
        replace(cell, figures=replace(cell.figures, gate=layers[cell.seed])) if cell.method == "equal" else cell
        for cell in result.cells
    )
    without = tuple(replace(cell, figures=replace(cell.figures, gate=())) for cell in result.cells)
    plain = analysed(replace(result, cells=without), ranks, resamples=50)
    gated = replace(plain, cells=cells)
    assert StudyResult.from_json(gated.to_json()) == gated
    assert not [figure for figure in figures(plain) if figure.name == "gate"]
    (figure,) = [figure for figure in figures(gated) if figure.name == "gate"]
    told = [row[3:] for row in figure.frame.rows]
    assert told == [
        ("equal", 1, pytest.approx(0.9), 1.0, 0, pytest.approx(0.9)),
        ("equal", 1, pytest.approx(0.9), 1.0, 1, pytest.approx(0.8)),
        ("equal", 2, pytest.approx(0.15), 0.5, 0, pytest.approx(0.15)),
    ]
    assert "50.0% closed" in figure.panels[0]
    before = json.loads(plain.to_json())
    for cell in before["cells"]:
        del cell["figures"]["gate"]
    assert StudyResult.from_json(json.dumps(before)) == plain, "files of before gates were shown are still read"
