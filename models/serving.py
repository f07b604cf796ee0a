"""The registered model: raw item ids in, raw item ids and scores out.

Logged with MLflow as code: this file and the folder it lies in travel with the model, so that it loads where nothing
of the project is installed.

Input: a table with a column `history`, a list of raw item ids a row, oldest first; for a model that reads times also,
where they are known, a column `times` with as many microseconds since 1970 (UTC) a row. Without them a history's events
are taken to be equally spaced. Where it is known, a column `trained` says how many of a row's first events the model
was trained on, else none: a noise model has counted those, and does not let them vouch for themselves. A model that
reads users takes each row for one whom it does not know. Unknown items are passed over, and so are missing ones.

Parameters: `k`, how many items a row at most; `exclude_seen`, whether items of the history are left out; `only`, a list
of the raw ids that alone may be offered, [None] for all; `exclude`, a list of those that may not. Ids that the model
does not know are passed over there too.

Output, a row for each input row, under its index: `items`, raw ids by falling score, of equal scores the item with the
lower number first, fewer than `k` where no more may be offered; `scores`; `basis`, "history", or "popularity" where the
history holds no item that the model knows.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import torch
from mlflow.exceptions import INVALID_PARAMETER_VALUE, MlflowException
from mlflow.pyfunc import PythonModel, PythonModelContext
from torch import Tensor

from models.engine.batches import Batch, windows
from models.engine.ranking import block_sizes, first_unseen
from models.engine.sequences import Sequences
from models.recommender import Recommender
from models.storage import load_model

CATALOGUE_FILE = "catalogue.json"
AT_A_TIME = 512
"""Histories, at most, whose scores are held together; fewer of a large catalogue."""
PARAMETERS: Mapping[str, Any] = {"k": 10, "exclude_seen": True, "only": [None], "exclude": []}
"""What may be asked for beside the histories, and the defaults. MLflow takes no None for a list; an empty one would
have to mean that everything may be offered.
"""

History = list[tuple[int, int, bool]]
"""Item numbers, times and whether the model was trained on the event, oldest first; those that it was come first."""


class Refused(MlflowException, ValueError):
    """What is asked cannot be answered: over HTTP, status 400 with the message, where any other error has a trace."""

    def __init__(self, message: str) -> None:
        super().__init__(message, error_code=INVALID_PARAMETER_VALUE)


class Server(PythonModel):
    """Serves one trained recommender."""

    model: Recommender
    ids: list[Any]
    popularity: Tensor
    scorer: Callable[[Batch], Tensor]
    """The model's, made once: it costs some models more than an answer does, such as nearest neighbours, which go
    through their whole log for it."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the model's folder: weights, and the catalogue of raw ids with their popularity."""
        self.load(Path(context.artifacts["model"]))

    def load(self, folder: Path) -> None:
        """As `load_context`, from a folder."""
        catalogue = json.loads((folder / CATALOGUE_FILE).read_text(encoding="utf-8"))
        self.hold(load_model(folder), ids=catalogue["ids"], popularity=catalogue["popularity"])

    @torch.no_grad()
    def hold(self, model: Recommender, *, ids: Sequence[Any], popularity: Sequence[float]) -> None:
        """Serve `model`, as it is now, whose items, from number 1 on, have these raw ids and this popularity."""
        self.model = model
        self.scorer = model.scorer()
        self.ids = list(ids)
        self.popularity = torch.tensor(popularity, dtype=torch.float32)
        self._index = {raw: number for number, raw in enumerate(self.ids, start=1)}

    def predict(
        self, context: PythonModelContext | None, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """See the module. Raises `Refused` where `k` is no whole number from 1 on, `exclude_seen` neither true nor
        false, `only` and `exclude` leave no item, an id is not of the type that the model knows ids by, a history is no
        list, has not as many times as items, or some that are no whole numbers, or cannot have as many items that were
        trained on.
        """
        chosen = {name: _plain(value) for name, value in {**PARAMETERS, **(params or {})}.items()}
        k, exclude_seen = chosen["k"], chosen["exclude_seen"]
        if type(k) is not int or k < 1:
            raise Refused(f"k must be a whole number and at least 1, not {k!r}")
        if type(exclude_seen) is not bool:
            raise Refused(f"exclude_seen must be true or false, not {exclude_seen!r}")
        offerable = self.offerable(chosen["only"], chosen["exclude"])
        if "times" in model_input and "times" in self.model.needs:
            times = list(model_input["times"])
        else:
            times = [None] * len(model_input)
        trained = list(model_input["trained"]) if "trained" in model_input else [None] * len(model_input)
        columns = zip(model_input["history"], times, trained, strict=True)
        histories = [self.known(*cells, row=row) for row, cells in enumerate(columns)]
        rows: list[dict[str, Any]] = []
        lengths = torch.tensor([len(history) for history in histories], dtype=torch.int64)
        for size in block_sizes(lengths, len(self.ids), most=AT_A_TIME):
            block = histories[len(rows) : len(rows) + size]
            offered = self.offers(block, k, exclude_seen=exclude_seen, offerable=offerable)
            rows += [self._row(history, pairs) for history, pairs in zip(block, offered, strict=True)]
        return pd.DataFrame(rows, columns=["items", "scores", "basis"], index=model_input.index)

    def known(self, history: Any, times: Any, trained: Any, *, row: int = 0) -> History:
        """The events whose raw ids the model knows. Of all, known or not, the first `trained` were trained on. Raises
        `Refused`, naming the row, as `predict` does.
        """
        if _is_missing(history):
            return []
        if not pd.api.types.is_list_like(history):
            raise Refused(f"row {row} has {history!r} for its history, which is a list of items, oldest first")
        if _is_missing(times):
            times = range(len(history))
        elif unlike := [time for time in times if not _is_whole(time)]:
            raise Refused(f"row {row} has {unlike[0]!r} among its times, which are whole numbers, of microseconds")
        if len(times) != len(history):
            raise Refused(f"row {row} has {len(history)} items in its history and {len(times)} times")
        first = 0 if pd.isna(trained) else trained
        if first not in range(len(history) + 1):
            raise Refused(
                f"row {row} has {len(history)} items in its history: `trained` says how many of them, "
                f"the first ones, were trained on, and cannot be {trained}"
            )
        numbers = [self._number(raw, of=f"the history of row {row}") for raw in history]
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
            scores = self.scorer(self.batch(histories))
        else:
            scores = self.popularity.expand(len(histories), -1).clone()
        scores[torch.tensor([not history for history in histories])] = self.popularity
        return scores

    @torch.inference_mode()
    def offers(
        self, histories: Sequence[History], k: int, *, exclude_seen: bool = True, offerable: Tensor | None = None
    ) -> list[list[tuple[int, float]]]:
        """The numbers, from 1 on, and scores of the `k` best items after each history, the best first, of equals the
        one with the lower number; fewer where no more may be offered.

        offerable: [items] bool, which may be; all without it. With `exclude_seen` those of the history may not.
        """
        scores = self.scores(histories)
        if offerable is not None:
            scores[:, ~offerable] = -torch.inf
        seen = [(row, item) for row, history in enumerate(histories) if exclude_seen for item, _, _ in history]
        owner, items = torch.tensor(seen, dtype=torch.int64).reshape(-1, 2).unbind(1)
        best = first_unseen(scores, owner, items, count=min(k, scores.shape[1])).long()
        values = scores.gather(1, best.sub(1).clamp(min=0))
        offered = (best > 0) & torch.isfinite(values)
        return [
            list(zip(row[some].tolist(), own[some].tolist(), strict=True))
            for row, own, some in zip(best, values, offered, strict=True)
        ]

    def offerable(
        self, only: Iterable[Any] = PARAMETERS["only"], exclude: Iterable[Any] = PARAMETERS["exclude"]
    ) -> Tensor:
        """[items] bool: which may be offered, of raw ids. Raises `Refused` as `predict` does."""
        alone = list(only)
        offerable = torch.full((len(self.ids),), alone == PARAMETERS["only"])
        for name, raws, may in (("only", alone, True), ("exclude", exclude, False)):
            found = [self._number(raw, of=f"`{name}`") for raw in raws]
            numbers = [number for number in found if number is not None]
            offerable[torch.tensor(numbers, dtype=torch.int64) - 1] = may
        if not offerable.any():
            raise Refused("`only` and `exclude` leave no item to be offered that the model knows")
        return offerable

    def _number(self, raw: Any, *, of: str) -> int | None:
        """The item's number; None for a missing id and one that the model does not know. `of` says where it stands."""
        if _is_missing(raw):
            return None
        plain = _plain(raw)
        if type(plain) is not type(self.ids[0]):
            known_by = "whole numbers" if isinstance(self.ids[0], int) else "text"
            raise Refused(f"the model's item ids are {known_by}, which {plain!r} in {of} is not")
        return self._index.get(plain)

    def _row(self, history: History, offered: Sequence[tuple[int, float]]) -> dict[str, Any]:
        """One row of the output."""
        return {
            "items": [self.ids[item - 1] for item, _ in offered],
            "scores": [score for _, score in offered],
            "basis": "history" if history else "popularity",
        }


def _is_missing(cell: Any) -> bool:
    """Is a cell of a table empty, as pandas and its joins leave it?"""
    return cell is None or bool(pd.api.types.is_scalar(cell) and pd.isna(cell))


def _is_whole(number: Any) -> bool:
    """Is it a number, and a whole one?"""
    return isinstance(number, int | float | np.integer | np.floating) and bool(number == number // 1)


def _plain(raw: Any) -> Any:
    """A numpy scalar as the Python value that the index holds."""
    return raw.item() if isinstance(raw, np.generic) else raw


mlflow.models.set_model(Server())
