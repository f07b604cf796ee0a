"""The files of a trained model, and what the one of them that needs no torch says of it."""

import json
from dataclasses import dataclass
from pathlib import Path

from models.config import ModelConfig

DESCRIPTION_FILE = "model.json"
WEIGHTS_FILE = "weights.pt"
MODEL_FILES = (DESCRIPTION_FILE, WEIGHTS_FILE)
"""What a model is made of again."""


@dataclass(frozen=True)
class Description:
    """A model's configuration and the counts that it was built with."""

    config: ModelConfig
    item_count: int
    user_count: int

    def to_json(self) -> str:
        """What `DESCRIPTION_FILE` holds."""
        counts = {"item_count": self.item_count, "user_count": self.user_count}
        return json.dumps({"config": self.config.to_dict(), **counts}, indent=1)


def described(folder: Path) -> Description:
    """The model in `folder`. One that another version of this project saved raises `KeyError`, `TypeError` or
    `ValueError`.
    """
    content = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
    return Description(ModelConfig.from_dict(content["config"]), content["item_count"], content["user_count"])
