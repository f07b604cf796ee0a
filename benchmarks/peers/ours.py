"""Our own training: packed batches, a negative outside the user's training part."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

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
    serve,
)
from models.catalogue import build
from models.config import ModelConfig, TrainingConfig
from models.engine.batches import history_batches
from models.engine.memory import keep_freed
from models.engine.sequences import load_log
from models.engine.training import Training


class Ours:
    """`models.engine.training`, as a training's process runs it."""

    def __init__(self, log: Log) -> None:
        keep_freed()
        self.log = load_log(Path(sys.argv[1]))
        settings = ModelConfig(length=LENGTH, dim=DIM, blocks=BLOCKS, heads=HEADS, dropout=DROPOUT)
        config = TrainingConfig(batch_size=BATCH, learning_rate=LEARNING_RATE, beta2=BETAS[1])
        self.training = Training(
            build(settings, log.item_count, seed=1),
            self.log,
            self.log,
            config,
            seed=1,
            evaluation_seed=0,
            device=torch.device("cpu"),
        )
        self.positions = int((log.train_lengths - 1).clip(0, LENGTH).sum())

    def epoch(self) -> Turn:
        watch = Watch()
        self.training.train_epoch()
        return watch.turn(self.positions)

    @torch.no_grad()
    def factors(self) -> tuple[Any, Any]:
        model, targets = self.training.model.eval(), self.log.targets["validation"]
        sizes = [min(BATCH, len(targets) - start) for start in range(0, len(targets), BATCH)]
        batches = history_batches(self.log.sequences, targets, length=LENGTH, sizes=sizes)
        queries = [model.query(batch).numpy() for batch in batches]
        return np.concatenate(queries), model.item_table().numpy()


if __name__ == "__main__":
    serve(Ours, ())
