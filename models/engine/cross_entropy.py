"""Cross-entropy over a whole catalogue, block by block of positions: no [positions, items] tensor is ever whole.

A block's scores lie in one buffer that stays in the processor's cache. While they are there, all that a gradient needs
of them is taken: the share of each hidden state's gradient, and of the table's for positions of equal weight, which
are those of a mean. Where positions turn out to have weights of their own, the table's gradient takes a second
round of blocks.
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
    if torch.is_grad_enabled() and (hidden.requires_grad or table.requires_grad):
        losses: Tensor = _CrossEntropy.apply(hidden, table, targets)  # type: ignore[no-untyped-call]
        return losses
    normalisers = hidden.new_empty(len(hidden))
    for rows, scores in _blocks(hidden, table[1:]):
        _exponentials(scores, normalisers[rows])
    return normalisers - _own_scores(hidden, table, targets)


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, table: Tensor, targets: Tensor) -> Tensor:
        """Losses, and with them the gradients of their sum."""
        items = table[1:]
        normalisers = hidden.new_empty(len(hidden))
        of_hidden = torch.empty_like(hidden)
        of_table = torch.zeros_like(table)
        for rows, scores in _blocks(hidden, items):
            sums = _exponentials(scores, normalisers[rows])
            torch.mm(scores, items, out=of_hidden[rows]).div_(sums)
            of_table[1:].addmm_(scores.T, hidden[rows] / sums)
        of_hidden -= table[targets]
        of_table.index_add_(0, targets, hidden, alpha=-1)
        ctx.save_for_backward(hidden, table, targets, normalisers, of_hidden, of_table)
        return normalisers - _own_scores(hidden, table, targets)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, weights: Tensor) -> tuple[Tensor, Tensor, None]:
        hidden, table, targets, normalisers, of_hidden, of_table = ctx.saved_tensors
        if bool((weights == weights[:1]).all()):
            return of_hidden * weights[:, None], of_table * weights[:1].sum(), None
        weighted = hidden * weights[:, None]
        of_table = torch.zeros_like(table)
        for rows, scores in _blocks(hidden, table[1:]):
            shares = scores.sub_(normalisers[rows, None]).exp_()
            of_table[1:].addmm_(shares.T, weighted[rows])
        return of_hidden * weights[:, None], of_table.index_add_(0, targets, weighted, alpha=-1), None


def _blocks(hidden: Tensor, items: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Positions, and their scores of all items [positions, items], which the next block overwrites."""
    size = max(CELLS_OF_A_BLOCK // max(len(items), 1), LEAST_ROWS)
    buffer = hidden.new_empty(min(size, len(hidden)), len(items))
    for start in range(0, len(hidden), size):
        rows = slice(start, min(start + size, len(hidden)))
        yield rows, torch.mm(hidden[rows], items.T, out=buffer[: rows.stop - start])


def _exponentials(scores: Tensor, normalisers: Tensor) -> Tensor:
    """Turn scores into exp(score − the row's largest), and give their sums [rows, 1]; log Σ exp(score) goes into
    `normalisers` [rows].
    """
    largest = scores.amax(1, keepdim=True)
    sums = scores.sub_(largest).exp_().sum(1, keepdim=True)
    torch.add(sums.log(), largest, out=normalisers[:, None])
    return sums


def _own_scores(hidden: Tensor, table: Tensor, targets: Tensor) -> Tensor:
    return (hidden * table[targets]).sum(1)
