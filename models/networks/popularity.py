"""The same for everyone: what is popular. The baseline that every recommender has to beat ("PopRec", "MostPop")."""

import torch
from torch import Tensor, nn

from models.engine.batches import Batch
from models.engine.sequences import Sequences, training_part
from models.networks.count_based import CountBased


class MostPopular(CountBased):
    """An item's score is log p of it in the training log, with one more occurrence of each item than there are."""

    log_shares: Tensor

    def __init__(self, item_count: int, *, length: int) -> None:
        super().__init__(length=length)
        self.log_shares = nn.Buffer(torch.zeros(item_count + 1))

    def prepare(self, sequences: Sequences) -> None:
        self.log_shares = log_shares(sequences)

    def query(self, batch: Batch) -> Tensor:
        return self.log_shares.new_ones(len(batch.ends), 1)

    def item_table(self) -> Tensor:
        return self.log_shares[:, None]


def log_shares(sequences: Sequences) -> Tensor:
    """[items + 1] float32: the log of each item's share of the training log, with one more occurrence of each; 0 for
    padding.
    """
    items = sequences.items[training_part(sequences)].long()
    counts = torch.bincount(items, minlength=sequences.item_count + 1).double() + 1
    counts[0] = counts[1:].sum()
    return (counts / counts[0]).log().float()
