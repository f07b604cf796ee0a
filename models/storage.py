"""A trained model on disk: its description and its tensors."""

from pathlib import Path

import torch

from models.catalogue import build
from models.config import ModelConfig
from models.description import DESCRIPTION_FILE, WEIGHTS_FILE, Description, described
from models.engine.files import written_whole
from models.recommender import Recommender


def save_model(model: Recommender, config: ModelConfig, folder: Path, *, item_count: int, user_count: int = 0) -> None:
    """Write both files into `folder`, each whole or not at all. The counts are those that the model was built with."""
    with written_whole(folder / WEIGHTS_FILE) as file:
        torch.save(model.state_dict(), file)
    with written_whole(folder / DESCRIPTION_FILE) as file:
        file.write(Description(config, item_count, user_count).to_json().encode())


def load_model(folder: Path, *, device: torch.device | None = None) -> Recommender:
    """The model in evaluation mode. Weights are read without unpickling objects."""
    description = described(folder)
    model = build(description.config, description.item_count, seed=0, user_count=description.user_count)
    state = torch.load(folder / WEIGHTS_FILE, map_location="cpu", weights_only=True)
    model.load_state_dict(state)
    return model.to(device or torch.device("cpu")).eval()
