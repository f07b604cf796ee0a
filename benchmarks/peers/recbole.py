"""RecBole's SASRec, trained by its own trainer.

What differs: every prefix of a history is a row of its own with one target, so that a batch of 128 sequences has 128
positions; of a history those targets are given that the others have in an epoch, as RecBole takes minutes to lay out
more. There is no binary cross-entropy, and BPR with one negative stands for it; blocks are post-norm with GELU and an
output projection. A turn is as many steps as the others' epochs have.
"""

import itertools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

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
    serve,
)

REMOVED_FROM_NUMPY = {
    "bool": np.bool_,
    "bool8": np.bool_,
    "int": np.int_,
    "float": np.float64,
    "float_": np.float64,
    "complex": np.complex128,
    "complex_": np.complex128,
    "object": np.object_,
    "object_": np.object_,
    "str": np.str_,
    "long": np.int_,
    "unicode": np.str_,
    "unicode_": np.str_,
}
"""Names that RecBole 1.2.1 reads."""


class RecBole:
    """`SASRec`, so many steps at a time."""

    def __init__(self, log: Log) -> None:
        for name, meant in REMOVED_FROM_NUMPY.items():
            setattr(np, name, meant)
        from recbole.config import Config
        from recbole.data import create_dataset, data_preparation
        from recbole.model.sequential_recommender import SASRec
        from recbole.trainer import Trainer

        self.log = log
        self.folder = tempfile.TemporaryDirectory()
        config = Config(model="SASRec", dataset="log", config_dict=_settings(self.folder.name))
        self.dataset = _written(log, Path(self.folder.name), lambda: create_dataset(config))
        self.training, _, _ = data_preparation(config, self.dataset)
        self.model = SASRec(config, self.training.dataset)
        self.trainer = Trainer(config, self.model)
        self.batches = itertools.chain.from_iterable(itertools.repeat(self.training))

    def epoch(self) -> Turn:
        watch, positions = Watch(), 0

        def counted_batches() -> Any:
            nonlocal positions
            for batch in itertools.islice(self.batches, self.log.steps_of_epoch()):
                positions += len(batch)
                yield batch

        self.trainer._train_epoch(counted_batches(), 0)
        return watch.turn(positions)

    @torch.no_grad()
    def factors(self) -> tuple[Any, Any]:
        self.model.eval()
        known = self.dataset.field2token_id["item_id"]
        numbers = [known.get(str(item), 0) for item in range(1, self.log.item_count + 1)]
        internal = np.array([0, *numbers], dtype=np.int64)
        left = self.log.histories_before_targets()
        sizes = (left > 0).sum(1)
        places = (np.arange(LENGTH) + LENGTH - sizes[:, None]).clip(max=LENGTH - 1)
        right = np.where(np.arange(LENGTH) < sizes[:, None], np.take_along_axis(internal[left], places, 1), 0)
        parts = zip(torch.from_numpy(right).split(BATCH), torch.from_numpy(sizes).split(BATCH), strict=True)
        queries = torch.cat([self.model(part, count) for part, count in parts])
        return queries.numpy(), self.model.item_embedding.weight.numpy()[internal]


def _written(log: Log, folder: Path, read: Any) -> Any:
    """The data set of training parts, followed by two events each that RecBole holds out."""
    parts = [np.concatenate([part[-LENGTH - 1 :], part[:1], part[:1]]) for part in log.training_parts()]
    sizes = [len(part) for part in parts]
    table = pd.DataFrame(
        {
            "user_id:token": np.repeat(np.arange(len(parts)), sizes),
            "item_id:token": np.concatenate(parts),
            "timestamp:float": np.concatenate([np.arange(size) for size in sizes]),
        }
    )
    (folder / "log").mkdir()
    table.to_csv(folder / "log" / "log.inter", sep="\t", index=False)
    return read()


def _settings(folder: str) -> dict[str, Any]:
    return {
        "data_path": folder,
        "checkpoint_dir": folder,
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
        "TIME_FIELD": "timestamp",
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "MAX_ITEM_LIST_LENGTH": LENGTH,
        "n_layers": BLOCKS,
        "n_heads": HEADS,
        "hidden_size": DIM,
        "inner_size": DIM,
        "hidden_dropout_prob": DROPOUT,
        "attn_dropout_prob": DROPOUT,
        "loss_type": "BPR",
        "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1},
        "train_batch_size": BATCH,
        "learning_rate": LEARNING_RATE,
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
        "use_gpu": False,
        "single_spec": True,
        "state": "ERROR",
        "show_progress": False,
    }


if __name__ == "__main__":
    serve(RecBole, ("recbole",))
