"""A trained model on disk: `model.json` says what it is, `weights.pt` holds its tensors."""

import json
from pathlib import Path

import torch

from models.catalogue import build
from models.config import ModelConfig
from models.engine.files import written_whole
from models.recommender import Recommender

MODEL_FILE = "model.json"
WEIGHTS_FILE = "weights.pt"


def save_model(model: Recommender, config: ModelConfig, folder: Path, *, item_count: int, user_count: int = 0) -> None:
    """Write both files into `folder`, each whole or not at all. The counts are those that the model was built with."""
    with written_whole(folder / WEIGHTS_FILE) as file:
        torch.save(model.state_dict(), file)
    sizes = {"item_count": item_count, "user_count": user_count}
    description = json.dumps({"config": config.to_dict(), **sizes}, indent=1)
    with written_whole(folder / MODEL_FILE) as file:
        file.write(description.encode())


def load_model(folder: Path, *, device: torch.device | None = None) -> Recommender:
    """The model in evaluation mode. Weights are read without unpickling objects."""
    description = json.loads((folder / MODEL_FILE).read_text(encoding="utf-8"))
    config = ModelConfig.from_dict(description["config"])
    model = build(config, description["item_count"], seed=0, user_count=description["user_count"])
    state = torch.load(folder / WEIGHTS_FILE, map_location="cpu", weights_only=True)
    model.load_state_dict(state)
    return model.to(device or torch.device("cpu")).eval()
