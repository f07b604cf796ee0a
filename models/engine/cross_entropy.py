"""Cross-entropy over a whole catalogue, block by block of positions: no [positions, items] tensor is ever whole.

A block's scores lie in one buffer that stays in the processor's cache. While they are there, all that a gradient needs
of them is taken: the share of each hidden state's gradient, and of the table's for positions of equal weight, which
are those of a mean. Where positions turn out to have weights of their own, the table's gradient takes a second
round of blocks. Under torch's autocast scores, probabilities and the products with them are in its precision, and sums
over blocks, like all else, in that of the inputs.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CELLS_OF_A_BLOCK = 2**20
"""Scores held at a time (4 MB in float32), where that is at least `LEAST_ROWS` positions."""
LEAST_ROWS = 16


def cross_entropy(hidden: Tensor, table: Tensor, targets: Tensor) -> Tensor:
    """−log softmax(hidden · tableᵀ) at the targets, [n]; can be differentiated once.

    hidden [n, dim], table [items + 1, dim] whose row 0 is padding and takes no part, targets [n] of 1 … items.
    """
    if torch.is_grad_enabled():
        losses: Tensor = _CrossEntropy.apply(hidden, table, targets)[0]  # type: ignore[no-untyped-call]
        return losses
    precision = _precision_of_products(hidden)
    losses = -_own_scores(hidden, table, targets)
    for rows, scores in _blocks(hidden.to(precision), _turned(table.to(precision))):
        losses[rows] += _normalisers(scores)
    return losses


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(hidden: Tensor, table: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Losses, and with them the gradients of their sum: those of the hidden states [n, dim], and of the items
        [dim, items] without the targets' own share. With [dim, …] in memory the products are a third faster.
        """
        precision = _precision_of_products(hidden)
        losses = -_own_scores(hidden, table, targets)
        rounded, items = hidden.to(precision), _turned(table.to(precision))
        turned = rounded.T.contiguous()
        of_hidden, of_items = torch.empty_like(turned), torch.zeros_like(items, dtype=table.dtype)
        for rows, scores in _blocks(rounded, items):
            losses[rows] += _normalisers(scores)
            torch.mm(items, scores.T, out=of_hidden[:, rows])
            _add_product(of_items, turned[:, rows], scores)
        return losses, of_hidden.T - table[targets], of_items

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*inputs, *output[1:])
        ctx.precision = _precision_of_products(inputs[0])

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        """One after the other."""
        stacked = [
            each.expand(info.batch_size, *each.shape) if dim is None else each.movedim(dim, 0)
            for each, dim in zip(inputs, in_dims, strict=True)
        ]
        outputs = [_CrossEntropy.apply(*each) for each in zip(*stacked, strict=True)]  # type: ignore[no-untyped-call]
        return tuple(torch.stack(each) for each in zip(*outputs, strict=True)), (0, 0, 0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, weights: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, None]:
        hidden, table, targets, of_hidden, of_items = ctx.saved_tensors
        weighted = hidden * weights[:, None]
        if bool((weights == weights[:1]).all()):
            of_items = of_items * weights[:1].sum()
        else:
            of_items = torch.zeros_like(of_items)
            turned = weighted.to(ctx.precision).T.contiguous()
            for rows, scores in _blocks(hidden.to(ctx.precision), _turned(table.to(ctx.precision))):
                _add_product(of_items, turned[:, rows], torch.softmax(scores, 1, out=scores))
        of_table = torch.cat([of_items.new_zeros(1, len(of_items)), of_items.T])
        return of_hidden * weights[:, None], of_table.index_add_(0, targets, weighted, alpha=-1), None


def _precision_of_products(hidden: Tensor) -> torch.dtype:
    kind = hidden.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype


def _add_product(total: Tensor, one: Tensor, other: Tensor) -> None:
    """total += one @ other, whatever precision the product is in."""
    if one.dtype == total.dtype:
        total.addmm_(one, other)
    else:
        total += one @ other


def _blocks(hidden: Tensor, items: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """hidden [n, dim], items [dim, items] → positions, and their scores of all items [positions, items], which the next
    block overwrites.
    """
    count = items.shape[1]
    size = max(CELLS_OF_A_BLOCK // max(count, 1), LEAST_ROWS)
    buffer = hidden.new_empty(min(size, len(hidden)), count)
    for start in range(0, len(hidden), size):
        rows = slice(start, min(start + size, len(hidden)))
        yield rows, torch.mm(hidden[rows], items, out=buffer[: rows.stop - start])


def _normalisers(scores: Tensor) -> Tensor:
    """log Σ exp(score) of each row; the scores become probabilities."""
    largest = scores.amax(1)
    return largest - torch.softmax(scores, 1, out=scores).amax(1).log()


def _turned(table: Tensor) -> Tensor:
    """[items + 1, dim] → [dim, items]."""
    return table[1:].T.contiguous()


def _own_scores(hidden: Tensor, table: Tensor, targets: Tensor) -> Tensor:
    return (hidden * table[targets]).sum(1)
