"""The registered model: raw item ids in, raw item ids and scores out.

Logged with MLflow as code: this file and the folder it lies in travel with the model, so that it loads where nothing
of the project is installed.

Input: a table with a column `history`, a list of raw item ids a row, oldest first; for a model that reads times also,
where they are known, a column `times` with as many microseconds since 1970 (UTC) a row. Without them a history's events
are taken to be equally spaced. Where it is known, a column `trained` says how many of a row's first events the model
was trained on, else none: a noise model has counted those, and does not let them vouch for themselves. A model that
reads users takes each row for one whom it does not know. Parameters: `k`, how many items a row; `exclude_seen`, whether
items of the history are left out. Output, a row for each input row, under its index: `items`, raw ids by falling score;
`scores`; `basis`, "history", or "popularity" where the history holds no item that the model knows. Unknown items are
passed over.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import torch
from mlflow.pyfunc import PythonModel, PythonModelContext
from torch import Tensor

from models.engine.batches import Batch, windows
from models.engine.sequences import Sequences
from models.recommender import Recommender
from models.storage import load_model

CATALOGUE_FILE = "catalogue.json"
BLOCK = 512

History = list[tuple[int, int, bool]]
"""Item numbers, times and whether the model was trained on the event, oldest first; those that it was come first."""


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
        catalogue = json.loads((folder / CATALOGUE_FILE).read_text(encoding="utf-8"))
        self.hold(load_model(folder), ids=catalogue["ids"], popularity=catalogue["popularity"])

    def hold(self, model: Recommender, *, ids: Sequence[Any], popularity: Sequence[float]) -> None:
        """Serve `model`, whose items, from number 1 on, have these raw ids and this popularity."""
        self.model = model
        self.ids = list(ids)
        self.popularity = torch.tensor(popularity, dtype=torch.float32)
        self._index = {raw: number for number, raw in enumerate(self.ids, start=1)}

    def predict(
        self, context: PythonModelContext | None, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """See the module. Raises `ValueError` where `k` is below 1, a history has not as many times as items, or cannot
        have as many that were trained on.
        """
        chosen = {"k": 10, "exclude_seen": True} | (params or {})
        k = int(chosen["k"])
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        if "times" in model_input and "times" in self.model.needs:
            times = list(model_input["times"])
        else:
            times = [None] * len(model_input)
        trained = list(model_input["trained"]) if "trained" in model_input else [None] * len(model_input)
        columns = zip(model_input["history"], times, trained, strict=True)
        histories = [self.known(*cells, row=row) for row, cells in enumerate(columns)]
        rows: list[dict[str, Any]] = []
        for start in range(0, len(histories), BLOCK):
            rows += self._recommend(histories[start : start + BLOCK], k, exclude_seen=bool(chosen["exclude_seen"]))
        return pd.DataFrame(rows, columns=["items", "scores", "basis"], index=model_input.index)

    def known(self, history: Any, times: Any, trained: Any, *, row: int = 0) -> History:
        """The events whose raw ids the model knows. Of all, known or not, the first `trained` were trained on. Raises
        `ValueError`, naming the row, as `predict` does.
        """
        if _is_missing(history):
            return []
        if _is_missing(times):
            times = range(len(history))
        if len(times) != len(history):
            raise ValueError(f"row {row} has {len(history)} items in its history and {len(times)} times")
        first = 0 if pd.isna(trained) else trained
        if first not in range(len(history) + 1):
            raise ValueError(
                f"row {row} has {len(history)} items in its history: `trained` says how many of them, "
                f"the first ones, were trained on, and cannot be {trained}"
            )
        numbers = [self._index.get(_plain(raw)) for raw in history]
        return [
            (number, int(time), place < first)
            for place, (number, time) in enumerate(zip(numbers, times, strict=True))
            if number is not None
        ]

    def batch(self, histories: Sequence[History]) -> Batch:
        """What the model is shown of histories, at least one of which has an event: users whom it does not know."""
        lengths = torch.tensor([len(history) for history in histories])
        sequences = Sequences(
            items=torch.tensor([item for history in histories for item, _, _ in history], dtype=torch.int32),
            offsets=torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]),
            train_lengths=torch.tensor([sum(trained for _, _, trained in history) for history in histories]),
            item_count=len(self.ids),
            times=torch.tensor([time for history in histories for _, time, _ in history], dtype=torch.int64),
        )
        batch = windows(
            sequences,
            torch.arange(len(histories)),
            lengths,
            length=self.model.length,
            with_targets=False,
            appended=self.model.appended,
        )
        return replace(batch, users=torch.full_like(batch.users, -1))

    @torch.no_grad()
    def scores(self, histories: Sequence[History]) -> Tensor:
        """[histories, items]: the model's scores, column 0 of item 1; the items' popularity for an empty history."""
        if any(histories):
            scores = self.model.scorer()(self.batch(histories))
        else:
            scores = self.popularity.expand(len(histories), -1).clone()
        scores[torch.tensor([not history for history in histories])] = self.popularity
        return scores

    @torch.inference_mode()
    def _recommend(self, histories: list[History], k: int, *, exclude_seen: bool) -> list[dict[str, Any]]:
        scores = self.scores(histories)
        if exclude_seen:
            owner = [row for row, history in enumerate(histories) for _ in history]
            scores[owner, [item - 1 for history in histories for item, _, _ in history]] = -torch.inf
        best = scores.topk(min(k, scores.shape[1]), dim=1)
        return [
            _row(values, places, self.ids, basis="history" if history else "popularity")
            for values, places, history in zip(best.values, best.indices, histories, strict=True)
        ]


def _row(scores: Tensor, places: Tensor, ids: list[Any], *, basis: str) -> dict[str, Any]:
    """One row of the output; items that were left out do not come back with a score of −∞."""
    offered = torch.isfinite(scores)
    return {
        "items": [ids[place] for place in places[offered].tolist()],
        "scores": scores[offered].tolist(),
        "basis": basis,
    }


def _is_missing(cell: Any) -> bool:
    """Is a cell of a table empty, as pandas and its joins leave it?"""
    return cell is None or bool(pd.api.types.is_scalar(cell) and pd.isna(cell))


def _plain(raw: Any) -> Any:
    """A numpy scalar as the Python value that the index holds."""
    return raw.item() if isinstance(raw, np.generic) else raw


mlflow.models.set_model(Server())
