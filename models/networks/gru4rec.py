"""GRU4Rec (Hidasi, Karatzoglou, Baltrunas & Tikk, *Session-Based Recommendations with Recurrent Neural Networks*, ICLR
2016; Hidasi & Karatzoglou, CIKM 2018).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from models.engine.batches import Batch
from models.engine.randomness import Dropout
from models.engine.rows import gathered
from models.networks.attention import AttentionMask
from models.networks.backbone import Backbone
from models.networks.sasrec import initialise


class GRU4Rec(Backbone):
    """Gated recurrent units over a window's item embeddings × √dim. The item table is shared between input and output
    (the authors' "constrained embedding") without an output bias. Both are as in SASRec here, so that the encoder is
    what differs.

    A window begins with a state of zeros, wherever in a row it lies. Dropout falls on the embeddings and on what each
    layer puts out.
    """

    def __init__(self, item_count: int, *, length: int, dim: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.length = length
        self.dropout = dropout
        self.items = nn.Embedding(item_count + 1, dim, padding_idx=0)
        self.recurrent = nn.ModuleList(nn.GRU(dim, dim) for _ in range(layers))
        initialise(self)
        with torch.no_grad():
            self.items.weight[0].zero_()
            for name, parameter in self.recurrent.named_parameters():
                if "bias" in name:
                    parameter.zero_()

    def row_tables(self) -> tuple[nn.Embedding, ...]:
        return (self.items,)

    def encode(self, batch: Batch, *, dropout: Dropout | None = None, gate: AttentionMask | None = None) -> Tensor:
        embedded = gathered(self.items.weight, batch.items) * self.items.embedding_dim**0.5
        cells, sizes = in_steps(batch.segments)
        states = self._dropped(embedded.flatten(0, 1)[cells], dropout)
        for layer in self.recurrent if len(cells) else ():
            states = self._dropped(layer(PackedSequence(states, sizes))[0].data, dropout)
        flat = states.new_zeros(batch.items.numel(), states.shape[1]).index_copy(0, cells, states)
        return flat.view(*batch.items.shape, -1)

    def item_table(self) -> Tensor:
        return self.items.weight

    def _dropped(self, values: Tensor, dropout: Dropout | None) -> Tensor:
        return values if dropout is None else dropout(values, self.dropout)


def in_steps(segments: Tensor) -> tuple[Tensor, Tensor]:
    """segments [rows, length] → where the events lie in the flattened grid, in a recurrent network's order.

    cells [events] int64: the first event of every window, then the second of those that have one, and so on, the
    longest window first; sizes [steps] int64, on the CPU: how many windows have a first event, a second, and so on.
    """
    own = segments.flatten()
    before = F.pad(segments, (1, 0))[:, :-1].flatten()
    cells = torch.nonzero(own).squeeze(1)
    begins = (own != before)[cells]
    window = begins.cumsum(0) - 1
    step = torch.arange(len(cells), device=cells.device) - torch.nonzero(begins).squeeze(1)[window]
    lengths = torch.bincount(window)
    place = lengths.argsort(descending=True, stable=True).argsort()
    order = (step * len(lengths) + place[window]).argsort()
    return cells[order], torch.bincount(step).cpu()
