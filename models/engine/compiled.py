"""A training step's loss, and with it the backward pass, as `torch.compile` makes them: fewer and larger kernels.

What is drawn is drawn outside, from the same generators, as much and in the order as without, so that a compiled
training differs in the last digits alone. A loss is taken at every cell of the rows, and cells without an event weigh
nothing: shapes then change with the number of rows alone, which one graph takes as it comes. On a GPU the rows are
filled up to a few numbers, of each of which a CUDA graph is recorded.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from models.engine.batches import Batch, attention_bias, real_cells, visibility
from models.engine.randomness import Dropout, draw_words, mask_of, split_words, word_count
from models.errors import NotCompiled
from models.recommender import Draws

ROWS_OF_A_GRAPH = {"cpu": 1, "cuda": 8}
"""By device: rows are filled up to a multiple of so many."""
LEAST_ROWS = 2
"""The compiler takes a dimension of 1 for a constant."""
GRIDS = ("items", "users", "positions", "segments", "targets")
COMPILER = ("torch._dynamo", "torch._inductor", "torch._functorch")


@runtime_checkable
class Compilable(Protocol):
    """A model whose step is one pass that sees items alone, and draws negatives and dropout's masks and nothing else,
    such as `models.networks.backbone.NextItem` (which of them: `models.config.ModelConfig.can_be_compiled`).
    """

    def drawn(self, batch: Batch, draws: Draws) -> tuple[Batch, Tensor | None]:
        """The batch, and the negatives: [n, k], each position's own, or [k]."""

    def position_losses(self, batch: Batch, negatives: Tensor | None, *, dropout: Dropout | None) -> Tensor:
        """The loss at each of the batch's `events`."""


class CompiledLoss:
    """The mean loss of a batch, compiled when it is first taken and differentiated."""

    def __init__(self, model: Compilable, *, device: torch.device) -> None:
        self._model = model
        self._multiple = ROWS_OF_A_GRAPH[device.type]
        self._shapes: list[torch.Size] | None = None

        def mean(grids: dict[str, Tensor], negatives: Tensor | None, draws: list[Tensor]) -> Tensor:
            batch = _traced(grids)
            losses = model.position_losses(batch, negatives, dropout=Dropout(_Cut(draws)))
            real = batch.real.flatten()
            return (losses * real).sum() / real.sum()

        mode = "reduce-overhead" if device.type == "cuda" else None
        self._mean = torch.compile(mean, fullgraph=True, mode=mode)

    def __call__(self, batch: Batch, draws: Draws) -> Tensor:
        batch, negatives = self._model.drawn(batch, draws)
        if self._shapes is None:
            self._shapes = self._shapes_of_masks(batch, negatives)
        rows = max(-(-len(batch.items) // self._multiple) * self._multiple, LEAST_ROWS)
        grids = {name: _filled(getattr(batch, name), rows) for name in GRIDS}
        if negatives is not None and negatives.dim() == 2:
            of_cells = negatives.new_ones(rows * batch.items.shape[1], negatives.shape[1])
            negatives = of_cells.index_copy_(0, batch.cells, negatives)
        generator = draws.streams["dropout"]
        masks = [_drawn(shape, len(batch.items), rows=rows, generator=generator) for shape in self._shapes]
        for changing in (*grids.values(), *masks):
            torch._dynamo.maybe_mark_dynamic(changing, 0)
        if negatives is not None and negatives.dim() == 2:
            torch._dynamo.maybe_mark_dynamic(negatives, 0)
        torch.compiler.cudagraph_mark_step_begin()
        mean: Tensor = self._mean(grids, negatives, masks)
        return mean.clone()  # where the next step's CUDA graph writes its own

    @torch.no_grad()
    def _shapes_of_masks(self, batch: Batch, negatives: Tensor | None) -> list[torch.Size]:
        """What a row has of each mask that dropout draws, in their order; nothing is drawn for it."""
        asked: list[torch.Size] = []

        def take_down(values: Tensor, _: float) -> Tensor:
            asked.append(values.shape[1:])
            return torch.ones_like(values)

        self._model.position_losses(batch, negatives, dropout=Dropout(take_down))
        return asked


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """Raises `NotCompiled` for what the compiler raises within."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith(COMPILER):
            raise
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise NotCompiled(
            f"the training could not be compiled ({said}). On a CPU that takes a C++ compiler, on a GPU Triton: "
            "without them, leave compiling (--compile, execution.compiled) out"
        ) from error


@dataclass(frozen=True)
class _TracedBatch(Batch):
    """A batch that holds what another works out when it is asked, which the compiler cannot follow, and whose every
    cell counts as an event.
    """

    visible: Tensor = None  # type: ignore[assignment]
    attention_bias: Tensor = None  # type: ignore[assignment]
    real: Tensor = None  # type: ignore[assignment]

    def events(self, grid: Tensor) -> Tensor:
        return grid.flatten(0, 1)


def _traced(grids: dict[str, Tensor]) -> _TracedBatch:
    segments = grids["segments"]
    visible = visibility(segments)
    return _TracedBatch(
        **grids,  # type: ignore[arg-type]
        cells=segments,
        ends=segments,
        visible=visible,
        attention_bias=attention_bias(visible),
        real=real_cells(segments),
    )


class _Cut:
    """Gives dropout masks that are cut from `draws`, one after another."""

    def __init__(self, draws: list[Tensor]) -> None:
        self._draws = draws
        self._next = 0

    def __call__(self, values: Tensor, probability: float) -> Tensor:
        draws = self._draws[self._next]
        self._next += 1
        return mask_of(draws[: values.numel()].view(values.shape), probability, dtype=values.dtype)


def _drawn(of_row: torch.Size, own: int, *, rows: int, generator: torch.Generator) -> Tensor:
    """[at least rows × cells of a row] int16: random bits for so many rows, of which only the first are the batch's
    `own`; those take as many words of the generator as they would without the others.
    """
    words = torch.zeros(word_count(rows * of_row.numel()), dtype=torch.int64, device=generator.device)
    draw_words(words[: word_count(own * of_row.numel())], generator)
    return split_words(words)


def _filled(grid: Tensor, rows: int) -> Tensor:
    """[rows of a batch, length] → [rows, length], those that are added without an event."""
    missing = rows - len(grid)
    return torch.cat([grid, grid.new_zeros(missing, grid.shape[1])]) if missing else grid
