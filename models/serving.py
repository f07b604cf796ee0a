"""The registered model: raw item ids in, raw item ids and scores out.

Logged with MLflow as code: this file and the folder it lies in travel with the model, so that it loads where nothing
of the project is installed.

Input: a table with a column `history`, a list of raw item ids a row, oldest first. Parameters: `k`, how many items a
row; `exclude_seen`, whether items of the history are left out. Output, a row for each input row: `items`, raw ids by
falling score; `scores`; `basis`, "history", or "popularity" where the history holds no item that the model knows.
Unknown items are passed over.
"""

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import torch
from mlflow.pyfunc import PythonModel, PythonModelContext
from torch import Tensor

from models.engine.batches import windows
from models.engine.sequences import Sequences
from models.recommender import Recommender
from models.storage import load_model

CATALOGUE_FILE = "catalogue.json"
BLOCK = 512


class Server(PythonModel):
    """Serves one trained recommender."""

    model: Recommender
    ids: list[Any]
    popularity: Tensor

    def load_context(self, context: PythonModelContext) -> None:
        """Read the model's folder: weights, and the catalogue of raw ids with their popularity."""
        self.load(Path(context.artifacts["model"]))

    def load(self, folder: Path) -> None:
        """As `load_context`, from a folder."""
        self.model = load_model(folder)
        catalogue = json.loads((folder / CATALOGUE_FILE).read_text(encoding="utf-8"))
        self.ids = catalogue["ids"]
        self.popularity = torch.tensor(catalogue["popularity"], dtype=torch.float32)
        self._index = {raw: number for number, raw in enumerate(self.ids, start=1)}

    def predict(
        self, context: PythonModelContext | None, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """See the module. Raises `ValueError` where `k` is below 1."""
        chosen = {"k": 10, "exclude_seen": True} | (params or {})
        k = int(chosen["k"])
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        histories = [self._known(history) for history in model_input["history"]]
        rows: list[dict[str, Any]] = []
        for start in range(0, len(histories), BLOCK):
            rows += self._recommend(histories[start : start + BLOCK], k, exclude_seen=bool(chosen["exclude_seen"]))
        return pd.DataFrame(rows, columns=["items", "scores", "basis"])

    def _known(self, history: Any) -> list[int]:
        """The item numbers of those raw ids that the model knows."""
        if history is None:
            return []
        return [number for raw in history if (number := self._index.get(_plain(raw))) is not None]

    @torch.inference_mode()
    def _recommend(self, histories: list[list[int]], k: int, *, exclude_seen: bool) -> list[dict[str, Any]]:
        lengths = torch.tensor([len(history) for history in histories])
        sequences = Sequences(
            items=torch.tensor([item for history in histories for item in history], dtype=torch.int32),
            offsets=torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]),
            train_lengths=lengths,
            item_count=len(self.ids),
        )
        if int(lengths.sum()):
            batch = windows(
                sequences, torch.arange(len(histories)), lengths, length=self.model.length, with_targets=False
            )
            scores = self.model.query(batch) @ self.model.item_table()[1:].T
        else:
            scores = self.popularity.expand(len(histories), -1).clone()
        scores[lengths == 0] = self.popularity
        if exclude_seen:
            owner = torch.repeat_interleave(torch.arange(len(histories)), lengths)
            scores[owner, sequences.items.long() - 1] = -torch.inf
        best = scores.topk(min(k, scores.shape[1]), dim=1)
        return [
            _row(values, places, self.ids, basis="history" if length else "popularity")
            for values, places, length in zip(best.values, best.indices, lengths.tolist(), strict=True)
        ]


def _row(scores: Tensor, places: Tensor, ids: list[Any], *, basis: str) -> dict[str, Any]:
    """One row of the output; items that were left out do not come back with a score of −∞."""
    offered = torch.isfinite(scores)
    return {
        "items": [ids[place] for place in places[offered].tolist()],
        "scores": scores[offered].tolist(),
        "basis": basis,
    }


def _plain(raw: Any) -> Any:
    """A numpy scalar as the Python value that the index holds."""
    return raw.item() if isinstance(raw, np.generic) else raw


mlflow.models.set_model(Server())
