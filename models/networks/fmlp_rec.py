"""FMLP-Rec (Zhou, Yu, Zhao & Wen, *Filter-enhanced MLP is All You Need for Sequential Recommendation*, WWW 2022)."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.engine.batches import Batch
from models.engine.randomness import Dropout
from models.engine.rows import gathered
from models.networks.attention import AttentionMask
from models.networks.backbone import Backbone

INITIAL_SCALE = 0.02
NORM_EPSILON = 1e-12


class Filter(nn.Module):
    """A filter of each dimension over `length` places, learned as what each frequency is multiplied by (the paper's
    eq. 4): the complex numbers of which `weights` [length // 2 + 1, dim, 2] are the parts.

    Between Fourier's transform and its inverse that is a convolution by `kernel`, which is computed as a product with
    a matrix of places for each dimension: at the lengths of histories that is quicker than the transforms.
    """

    def __init__(self, length: int, dim: int) -> None:
        super().__init__()
        self.length = length
        self.weights = nn.Parameter(INITIAL_SCALE * torch.randn(length // 2 + 1, dim, 2))

    def forward(self, values: Tensor, *, places: int) -> Tensor:
        """values [histories, length, dim] → [histories, places, dim], at the last `places`."""
        mixed = self.matrices()[:, -places:] @ values.permute(2, 1, 0)
        return mixed.permute(2, 1, 0)

    def kernel(self) -> Tensor:
        """[length, dim]: what a place passes on to the one so many places later."""
        return torch.fft.irfft(torch.view_as_complex(self.weights), n=self.length, dim=0)

    def matrices(self) -> Tensor:
        """[dim, length, length]: what the place of the row has of that of the column."""
        kernel = self.kernel()
        lags = torch.cat([self.passed_back(kernel), kernel])  # from 1 - length to length - 1
        return lags.T.flip(1).unfold(1, self.length, 1).flip(1)

    def passed_back(self, kernel: Tensor) -> Tensor:
        """[length − 1, dim]: what a place passes on to the one length − 1 places before it, … to the one before it."""
        raise TypeError(f"{type(self).__name__} does not define passed_back")


class CircularFilter(Filter):
    """The authors': after the last place comes the first again."""

    def passed_back(self, kernel: Tensor) -> Tensor:
        return kernel[1:]


class CausalFilter(Filter):
    """One that passes nothing back."""

    def passed_back(self, kernel: Tensor) -> Tensor:
        return torch.zeros_like(kernel[1:])


class FilterEnhanced(Backbone):
    """A history's embeddings, and blocks that filter them over time in attention's place.

    A history has a row of its own of `length` places, aligned at its end, whose empty places have the embedding of
    their position alone, as the authors pad.
    """

    filter: ClassVar[type[Filter]]

    def __init__(self, item_count: int, *, length: int, dim: int, blocks: int, dropout: float) -> None:
        super().__init__()
        self.length = length
        self.dropout = dropout
        self.items = nn.Embedding(item_count + 1, dim, padding_idx=0)
        self.positions = nn.Embedding(length, dim)
        self.first_norm = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.blocks = nn.ModuleList(FilterBlock(self.filter(length, dim), dim, dropout=dropout) for _ in range(blocks))
        self._initialise()

    def row_tables(self) -> tuple[nn.Embedding, ...]:
        return (self.items,)

    def item_table(self) -> Tensor:
        return self.items.weight

    def states(self, batch: Batch, cells: Tensor, *, places: int, dropout: Dropout | None) -> Tensor:
        """Of the histories at `cells` [histories, length], as of `history_cells` → [histories, places, dim], at the
        last `places`, for which alone the last block is computed.
        """
        items = F.pad(batch.items.flatten(), (0, 1))[cells]
        hidden = self.first_norm(gathered(self.items.weight, items) + self.positions.weight)
        if dropout is not None:
            hidden = dropout(hidden, self.dropout)
        *earlier, last = self.blocks
        for block in earlier:
            hidden = block(hidden, places=self.length, dropout=dropout)
        wanted: Tensor = last(hidden, places=places, dropout=dropout)
        return wanted

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=INITIAL_SCALE)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        with torch.no_grad():
            self.items.weight[0].zero_()


class FMLPRec(FilterEnhanced):
    """The authors' network. Their filters are circular: a place also hears what comes after it in the history. So each
    event's state is that of the history which ends with it, read by itself, as the authors train on every prefix; a
    training step costs up to as many times a causal encoder's as a window has places.
    """

    filter = CircularFilter

    def encode(self, batch: Batch, *, dropout: Dropout | None = None, gate: AttentionMask | None = None) -> Tensor:
        return on_grid(batch, batch.cells, self.event_states(batch, dropout=dropout))

    def event_states(
        self, batch: Batch, *, dropout: Dropout | None = None, gate: AttentionMask | None = None
    ) -> Tensor:
        return self._last_states(batch, batch.cells, dropout)

    def end_states(self, batch: Batch, *, gate: AttentionMask | None = None) -> Tensor:
        return self._last_states(batch, batch.ends, None)

    def _last_states(self, batch: Batch, ends: Tensor, dropout: Dropout | None) -> Tensor:
        """[histories, dim]: of the histories that end at `ends` [histories]."""
        return self.states(batch, history_cells(batch, ends), places=1, dropout=dropout).squeeze(1)


class CausalFMLPRec(FilterEnhanced):
    """The same network with filters that hear no place after their own, so that a window's states are found at all its
    events in one pass, as those of attention are. With a single block its last place has the authors' state.
    """

    filter = CausalFilter

    def encode(self, batch: Batch, *, dropout: Dropout | None = None, gate: AttentionMask | None = None) -> Tensor:
        cells = history_cells(batch, window_ends(batch))
        return on_grid(batch, cells, self.states(batch, cells, places=self.length, dropout=dropout))


class FilterBlock(nn.Module):
    """x ← LN(x + filter(x)), then x ← LN(x + W₂ GELU(W₁ x)), with an inner layer four times as wide (eq. 4 to 7)."""

    def __init__(self, filter: Filter, dim: int, *, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.filter = filter
        self.filter_norm = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.inner = nn.Linear(dim, 4 * dim)
        self.outer = nn.Linear(4 * dim, dim)
        self.forward_norm = nn.LayerNorm(dim, eps=NORM_EPSILON)

    def forward(self, hidden: Tensor, *, places: int, dropout: Dropout | None) -> Tensor:
        """[histories, length, dim] → [histories, places, dim], at the last `places`."""

        def dropped(values: Tensor) -> Tensor:
            return values if dropout is None else dropout(values, self.dropout)

        hidden = self.filter_norm(hidden[:, -places:] + dropped(self.filter(hidden, places=places)))
        normed: Tensor = self.forward_norm(hidden + dropped(self.outer(F.gelu(self.inner(hidden)))))
        return normed


def history_cells(batch: Batch, ends: Tensor) -> Tensor:
    """ends [histories], cells of the flattened grid → [histories, length]: the cells of what came before each in its
    window, and its own last; where there is no event, the number of cells, which is none of them.
    """
    length = batch.items.shape[1]
    back = torch.arange(length - 1, -1, -1, device=ends.device)
    cells = (ends[:, None] - back).clamp(min=0)
    segments = batch.segments.flatten()
    own = segments[ends, None]
    seen = (segments[cells] == own) & (own > 0) & (back <= ends[:, None] % length)
    return cells.masked_fill(~seen, batch.items.numel())


def window_ends(batch: Batch) -> Tensor:
    """[windows]: the cell of each window's last event, of those that have one."""
    following = F.pad(batch.segments, (0, 1))[:, 1:]
    return torch.nonzero(((batch.segments > 0) & (batch.segments != following)).flatten()).squeeze(1)


def on_grid(batch: Batch, cells: Tensor, states: Tensor) -> Tensor:
    """cells […], each once but for the number of all, which is none of them; states […, dim] → [rows, length, dim],
    zero elsewhere.
    """
    flat = states.new_zeros(batch.items.numel() + 1, states.shape[-1])
    flat = flat.index_copy(0, cells.flatten(), states.flatten(0, -2))
    return flat[:-1].view(*batch.items.shape, -1)
