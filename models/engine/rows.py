"""Item tables of which a step reads and differentiates only the rows that it touches.

Where a step of a sampled loss touches some ten thousand items, whatever the catalogue holds, a dense gradient and Adam
over the whole table cost as much as the catalogue is large. A table marked by `by_rows` has gradients of its touched
rows alone, and `models.engine.adam` moves those alone: the others catch up when they are read again.

A catalogue of some ten thousand items is moved as a whole more cheaply than by rows. But autograd would make a gradient
of the whole table for each lookup, and add these up: a table marked by `in_place` keeps one, to whose rows lookups add,
and of which a step clears those that the last one used.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RowTable(nn.Parameter):
    """A table [rows, dim] whose gradient is sparse: a parameter like any other, known by its type.

    Whoever moves it may leave rows behind that no step reads, and sets `catch_up`, which is given the numbers […] of
    those that are about to be read.
    """

    catch_up: Callable[[Tensor], None] | None = None


class InPlaceTable(nn.Parameter):
    """A table [rows, dim] whose lookups add their gradients up in one tensor, of all rows, kept from step to step.

    It becomes `grad` with the first lookup's backward pass after `grad` was None. What is read of the table otherwise
    may be differentiated beside the lookups, which themselves cannot be differentiated twice.
    """

    def __init__(self, *_: object) -> None:
        super().__init__()
        self._kept: Tensor | None = None
        self._looked_up: list[Tensor] = []
        read_otherwise = self._read_otherwise = [False]

        def reached(gradient: Tensor | None) -> None:  # not knowing the table, which would then be freed late
            read_otherwise[0] |= gradient is not None

        self.register_hook(reached)  # type: ignore[no-untyped-call]

    def collect(self, numbers: Tensor, gradient: Tensor) -> None:
        """Add a lookup's gradients […, dim] to those of its rows `numbers` […]; row 0, which is padding, has none."""
        if self.grad is None:
            self.grad = self._cleared()
        rows = numbers.flatten()
        self.grad.index_add_(0, rows, gradient.flatten(0, -2))
        self.grad[0] = 0
        self._looked_up.append(rows)

    def _cleared(self) -> Tensor:
        if self._kept is None or self._read_otherwise[0]:
            self._kept = torch.zeros_like(self.data)
        for rows in self._looked_up:
            self._kept.index_fill_(0, rows, 0)
        self._looked_up.clear()
        self._read_otherwise[0] = False
        return self._kept


class _LookUp(torch.autograd.Function):
    """Of an `InPlaceTable`."""

    @staticmethod
    def forward(ctx: Any, table: InPlaceTable, numbers: Tensor) -> Tensor:
        ctx.table, ctx.numbers = table, numbers
        return F.embedding(numbers, table)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None]:
        ctx.table.collect(ctx.numbers, gradient)
        return None, None


def by_rows(embedding: nn.Embedding) -> None:
    """Have a step read, differentiate and move the embedding's touched rows alone. Before an optimiser is made of its
    weight.
    """
    embedding.weight = RowTable(embedding.weight.data)


def in_place(embedding: nn.Embedding) -> None:
    """Have lookups add up the embedding's gradient in place. Before an optimiser is made of its weight."""
    embedding.weight = InPlaceTable(embedding.weight.data)


def gathered(table: Tensor, numbers: Tensor) -> Tensor:
    """table [rows, dim], numbers […] → […, dim], without a gradient of row 0, which is padding; of a `RowTable` with a
    gradient of those rows alone.
    """
    if isinstance(table, InPlaceTable):
        rows: Tensor = _LookUp.apply(table, numbers)  # type: ignore[no-untyped-call]
        return rows
    if isinstance(table, RowTable) and table.catch_up is not None:
        table.catch_up(numbers)
    return F.embedding(numbers, table, padding_idx=0, sparse=isinstance(table, RowTable))


def touched(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """A sparse gradient's rows [n], each once, and the gradients of these [n, dim]."""
    whole = gradient.coalesce()
    return whole.indices()[0], whole.values()


def clip(parameters: Iterable[nn.Parameter], longest: float) -> None:
    """Scale the gradients so that all together are at most `longest`, as `torch.nn.utils.clip_grad_norm_` does, those
    of touched rows among them.
    """
    gradients: list[Tensor] = []
    for parameter in parameters:
        if parameter.grad is None:
            continue
        if parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
        gradients.append(parameter.grad.values() if parameter.grad.is_sparse else parameter.grad)
    scale = (longest / (torch.nn.utils.get_total_norm(gradients) + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(scale)


def clip_each(parameters: Iterable[Tensor], longest: float) -> None:
    """As `clip`, apart for each replica along the first dimension of all parameters."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    lengths = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
    scale = (longest / (lengths + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(scale.view(-1, *[1] * (gradient.dim() - 1)))
