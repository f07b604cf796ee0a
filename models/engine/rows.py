"""Item tables of which a step reads, differentiates and updates only the rows that it touches.

Where a step of a sampled loss touches some ten thousand items, whatever the catalogue holds, a dense gradient and Adam
over the whole table cost as much as the catalogue is large. A table marked by `by_rows` has gradients of its touched
rows alone, and `models.engine.adam` moves those alone: the others catch up when they are read again.
"""

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RowTable(nn.Parameter):
    """A table [rows, dim] whose gradient is sparse: a parameter like any other, known by its type.

    Whoever moves it may leave rows behind that no step reads, and sets `catch_up`, which is given the numbers […] of
    those that are about to be read.
    """

    catch_up: Callable[[Tensor], None] | None = None


def by_rows(embedding: nn.Embedding) -> None:
    """Have a step read, differentiate and move the embedding's touched rows alone. Before an optimiser is made of its
    weight.
    """
    embedding.weight = RowTable(embedding.weight.data)


def gathered(table: Tensor, numbers: Tensor) -> Tensor:
    """table [rows, dim], numbers […] → […, dim], without a gradient of row 0, which is padding; of a `RowTable` with a
    gradient of those rows alone.
    """
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
