"""The registered model: raw item ids in, raw item ids and scores out.

Logged with MLflow as code: this file and the folder it lies in travel with the model, so that it loads where nothing
of the project is installed.

Input: a table with a column `history`, a list of raw item ids a row, oldest first; for a model that reads times also,
where they are known, a column `times` with as many microseconds since 1970 (UTC) a row. Without them a history's events
are taken to be equally spaced. A model that reads users takes each row for one whom it does not know. Parameters: `k`,
how many items a row; `exclude_seen`, whether items of the history are left out. Output, a row for each input row:
`items`, raw ids by falling score; `scores`; `basis`, "history", or "popularity" where the history holds no item that
the model knows. Unknown items are passed over.
"""

import json
from dataclasses import replace
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

History = list[tuple[int, int]]
"""Item numbers and times, oldest first."""


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
        """See the module. Raises `ValueError` where `k` is below 1, or a history has not as many times as items."""
        chosen = {"k": 10, "exclude_seen": True} | (params or {})
        k = int(chosen["k"])
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        if "times" in model_input and "times" in self.model.needs:
            times = list(model_input["times"])
        else:
            times = [None] * len(model_input)
        histories = [
            self._known(row, history, known_times)
            for row, (history, known_times) in enumerate(zip(model_input["history"], times, strict=True))
        ]
        rows: list[dict[str, Any]] = []
        for start in range(0, len(histories), BLOCK):
            rows += self._recommend(histories[start : start + BLOCK], k, exclude_seen=bool(chosen["exclude_seen"]))
        return pd.DataFrame(rows, columns=["items", "scores", "basis"])

    def _known(self, row: int, history: Any, times: Any) -> History:
        """The events whose raw ids the model knows."""
        if history is None:
            return []
        if times is None:
            times = range(len(history))
        if len(times) != len(history):
            raise ValueError(f"row {row} has {len(history)} items in its history and {len(times)} times")
        numbers = [self._index.get(_plain(raw)) for raw in history]
        return [(number, int(time)) for number, time in zip(numbers, times, strict=True) if number is not None]

    @torch.inference_mode()
    def _recommend(self, histories: list[History], k: int, *, exclude_seen: bool) -> list[dict[str, Any]]:
        lengths = torch.tensor([len(history) for history in histories])
        sequences = Sequences(
            items=torch.tensor([item for history in histories for item, _ in history], dtype=torch.int32),
            offsets=torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]),
            train_lengths=lengths,
            item_count=len(self.ids),
            times=torch.tensor([time for history in histories for _, time in history], dtype=torch.int64),
        )
        if int(lengths.sum()):
            batch = windows(
                sequences,
                torch.arange(len(histories)),
                lengths,
                length=self.model.length,
                with_targets=False,
                appended=self.model.appended,
            )
            strangers = replace(batch, users=torch.full_like(batch.users, -1))
            scores = self.model.query(strangers) @ self.model.item_table()[1:].T
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
