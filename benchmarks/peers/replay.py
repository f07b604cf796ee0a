"""RePlay's SasRec (Sber), trained by its own module, data set and transforms on Lightning.

What differs: rows are padded, and what follows padding is a target, too, which is trained on and not counted; attention
is torch's own with an output projection; a negative is any item of the catalogue, drawn for each position (the
library's own transform draws for a whole batch); the loss has 1e-6 added in its logarithms. Lightning prepares an
epoch's first batch before its time is taken.
"""

import tempfile
from pathlib import Path
from typing import Any

import lightning
import pandas as pd
import torch
from replay.data import FeatureHint, FeatureSource, FeatureType
from replay.data.nn import ParquetModule, TensorFeatureInfo, TensorFeatureSource, TensorSchema
from replay.nn.lightning import LightningModule
from replay.nn.lightning.optimizer import OptimizerFactory
from replay.nn.loss import BCESampled
from replay.nn.sequential.sasrec import SasRec
from replay.nn.transform.template import make_default_sasrec_transforms

from benchmarks.peers.side import (
    BATCH,
    BETAS,
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

ITEM = "item_id"


class Counter(lightning.Callback):
    """Positions and seconds of an epoch."""

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        self.positions, self.watch = 0, Watch()

    def on_train_batch_start(self, trainer: Any, module: Any, batch: dict[str, Any], number: int) -> None:
        self.positions += counted(batch["padding_mask"], batch["target_padding_mask"][:, :, 0])

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        self.turn = self.watch.turn(self.positions)


class Negatives(torch.nn.Module):
    """An item of the catalogue for each position."""

    def __init__(self, item_count: int) -> None:
        super().__init__()
        self.item_count = item_count

    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        return batch | {"negative_labels": torch.randint(self.item_count, batch["positive_labels"].shape)}


class RePlay:
    """`SasRec`, an epoch at a time; items count from 0, and padding comes after them."""

    def __init__(self, log: Log) -> None:
        self.log = log
        schema = TensorSchema(
            [
                TensorFeatureInfo(
                    ITEM,
                    is_seq=True,
                    feature_type=FeatureType.CATEGORICAL,
                    embedding_dim=DIM,
                    padding_value=log.item_count,
                    cardinality=log.item_count,
                    feature_hint=FeatureHint.ITEM_ID,
                    feature_sources=[TensorFeatureSource(FeatureSource.INTERACTIONS, ITEM)],
                )
            ]
        )
        network = SasRec.from_params(
            schema, embedding_dim=DIM, num_heads=HEADS, num_blocks=BLOCKS, max_sequence_length=LENGTH, dropout=DROPOUT
        )
        network.loss = BCESampled()
        network.loss.logits_callback = network.get_logits
        self.module = LightningModule(network, OptimizerFactory(learning_rate=LEARNING_RATE, betas=BETAS))
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "training.parquet"
        pd.DataFrame({ITEM: [part[-LENGTH - 1 :] - 1 for part in log.training_parts()]}).to_parquet(path)
        transforms = make_default_sasrec_transforms(schema)
        self.data = ParquetModule(
            batch_size=BATCH,
            metadata={"train": {ITEM: {"shape": LENGTH + 1, "padding": log.item_count}}},
            transforms={"train": [*transforms["train"], Negatives(log.item_count)]},
            train_path=str(path),
        )
        self.counter = Counter()
        self.trainer = lightning.Trainer(
            accelerator="cpu",
            max_epochs=0,
            limit_val_batches=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[self.counter],
        )

    def epoch(self) -> Turn:
        self.trainer.fit_loop.max_epochs += 1
        self.trainer.fit(self.module, self.data)
        return self.counter.turn

    @torch.no_grad()
    def factors(self) -> tuple[Any, Any]:
        body = self.module.model.eval().body
        histories = torch.from_numpy(self.log.histories_before_targets())
        items = torch.where(histories > 0, histories - 1, self.log.item_count)
        parts = zip(items.split(BATCH), (histories > 0).split(BATCH), strict=True)
        queries = torch.cat([body({ITEM: part}, padding_mask=real)[:, -1] for part, real in parts])
        table = body.embedder.get_item_weights(torch.arange(self.log.item_count))
        return queries.numpy(), torch.nn.functional.pad(table, (0, 0, 1, 0)).numpy()


if __name__ == "__main__":
    serve(RePlay, ("replay-rec", "lightning"))
