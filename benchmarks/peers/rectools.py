"""RecTools' SASRec (MTS), trained by its own loop on PyTorch Lightning.

What differs: rows are padded; attention is torch's own with an output projection, and has no dropout in common with
ours but its rate; a negative is any item of the catalogue; the loss is half of ours, the mean of a positive's and a
negative's terms. Lightning prepares an epoch's first batch before its time is taken.
"""

from typing import Any

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Callback, Trainer
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

from benchmarks.peers.side import (
    BATCH,
    BLOCKS,
    DIM,
    DROPOUT,
    HEADS,
    LEARNING_RATE,
    LENGTH,
    Log,
    Turn,
    Watch,
    counted,
    serve,
)


class Counter(Callback):
    """Positions and seconds of an epoch."""

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        self.positions, self.watch = 0, Watch()

    def on_train_batch_start(self, trainer: Any, module: Any, batch: dict[str, Any], number: int) -> None:
        self.positions += counted(batch["x"] != 0, batch["y"] != 0)

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        self.turn = self.watch.turn(self.positions)


def _trainer() -> Trainer:
    return Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Counter()],
    )


class RecTools:
    """`SASRecModel`, an epoch at a time."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.model = SASRecModel(
            n_blocks=BLOCKS,
            n_heads=HEADS,
            n_factors=DIM,
            dropout_rate=DROPOUT,
            session_max_len=LENGTH,
            loss="BCE",
            n_negatives=1,
            lr=LEARNING_RATE,
            batch_size=BATCH,
            use_key_padding_mask=False,
            get_trainer_func=_trainer,
        )
        parts = log.training_parts()
        sizes = [len(part) for part in parts]
        events = np.concatenate([np.arange(size) for size in sizes])
        interactions = pd.DataFrame(
            {
                Columns.User: np.repeat(np.arange(len(parts)), sizes),
                Columns.Item: np.concatenate(parts),
                Columns.Weight: 1.0,
                Columns.Datetime: pd.Timestamp(0) + pd.to_timedelta(events, unit="s"),
            }
        )
        self.dataset = Dataset.construct(interactions)

    def epoch(self) -> Turn:
        self.model.fit_partial(self.dataset, min_epochs=1, max_epochs=1)
        (counter,) = (each for each in self.model.fit_trainer.callbacks if isinstance(each, Counter))
        return counter.turn

    @torch.no_grad()
    def factors(self) -> tuple[Any, Any]:
        network = self.model.torch_model.eval()
        numbers = self.model.data_preparator.item_id_map.to_internal  # by the log's number, "PAD" among them
        internal = np.zeros(self.log.item_count + 1, dtype=np.int64)
        for item, number in numbers.items():
            if item != "PAD":
                internal[int(item)] = number
        items = network.item_model.get_all_embeddings()
        histories = torch.from_numpy(internal[self.log.histories_before_targets()])
        queries = [network.encode_sessions({"x": part}, items)[:, -1] for part in histories.split(BATCH)]
        return torch.cat(queries).numpy(), items.numpy()[internal]


if __name__ == "__main__":
    serve(RecTools, ("rectools", "pytorch-lightning"))
