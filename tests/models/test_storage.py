"""A trained model on disk."""

import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from models.catalogue import build
from models.config import ModelConfig
from models.storage import load_model, save_model


@pytest.mark.parametrize("gate", ["none", "positional", "contextual"])
def test_a_model_comes_back_to_the_bit_and_ready_to_serve(tmp_path: Path, gate: str) -> None:
    config = ModelConfig(dim=8, length=5, gate=gate)
    model = build(config, 12, seed=4)
    save_model(model, config, tmp_path, item_count=12)
    loaded = load_model(tmp_path)
    assert not loaded.training
    assert loaded.length == 5
    state = loaded.state_dict()
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "weights.pt"]


def test_saving_again_replaces_both(tmp_path: Path) -> None:
    for dim in (8, 4):
        config = ModelConfig(dim=dim)
        save_model(build(config, 12, seed=0), config, tmp_path, item_count=12)
    assert load_model(tmp_path).item_table().shape == (13, 4)


def test_weights_that_would_run_code_are_refused(tmp_path: Path) -> None:
    config = ModelConfig(dim=8)
    save_model(build(config, 3, seed=0), config, tmp_path, item_count=3)
    torch.save({"weights": Path("/")}, tmp_path / "weights.pt")
    assert zipfile.is_zipfile(tmp_path / "weights.pt")
    with pytest.raises(pickle.UnpicklingError):
        load_model(tmp_path)
