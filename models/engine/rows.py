"""Item tables of which a step reads, differentiates and updates only the rows that it touches.

Where a step of a sampled loss touches some ten thousand items, whatever the catalogue holds, a dense gradient and Adam
over the whole table cost as much as the catalogue is large. A table marked by `by_rows` has gradients of its touched
rows alone, and `RowAdam` moves those alone.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RowTable(nn.Parameter):
    """A table [rows, dim] whose gradient is sparse: a parameter like any other, known by its type."""


def by_rows(embedding: nn.Embedding) -> None:
    """Have the embedding's gradients be those of its touched rows alone. Before an optimiser is made of its weight."""
    embedding.sparse = True
    embedding.weight = RowTable(embedding.weight.data)


def gathered(table: Tensor, numbers: Tensor) -> Tensor:
    """table [rows, dim], numbers […] → […, dim]; of a `RowTable` with a gradient of those rows alone."""
    return F.embedding(numbers, table, sparse=isinstance(table, RowTable))


class RowAdam(torch.optim.AdamW):
    """Adam that moves the touched rows of a `RowTable` and leaves the others, and their moments, as they are.

    Other parameters, and rows that every step touches, move as Adam moves them. Adam itself goes on to move a row by
    its old gradients' mean, and lets both moments fade, in the steps that do not touch it; here they stay as they were
    until it is touched again ("lazy" Adam), which is another optimiser for rare items. Weight decay, decoupled as
    AdamW's, takes its share of a row in the steps that touch it. The count of steps that corrects the moments' bias is
    that of all steps.
    """

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Raises `TypeError` where a `RowTable` has a gradient of all its rows."""
        tables = [
            (group, parameter, parameter.grad)
            for group in self.param_groups
            for parameter in group["params"]
            if isinstance(parameter, RowTable) and parameter.grad is not None
        ]
        for _, table, _ in tables:
            table.grad = None  # Adam passes over parameters without a gradient
        result: float | None = super().step(closure)
        for group, table, gradient in tables:
            self._move(table, gradient, group)
            table.grad = gradient
        return result

    @torch.no_grad()
    def _move(self, table: RowTable, gradient: Tensor, group: dict[str, Any]) -> None:
        if not gradient.is_sparse:
            raise TypeError("the whole item table has a gradient: such a model trains with all rows")
        rows, values = touched(gradient)
        state = self.state[table]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(table), torch.zeros_like(table)
        state["step"] += 1
        done, (beta1, beta2) = float(state["step"]), group["betas"]
        mean = state["exp_avg"][rows].lerp_(values, 1 - beta1)
        square = state["exp_avg_sq"][rows].mul_(beta2).addcmul_(values, values, value=1 - beta2)
        state["exp_avg"][rows], state["exp_avg_sq"][rows] = mean, square
        scale = square.sqrt_().div_((1 - beta2**done) ** 0.5).add_(group["eps"])
        moved = table[rows].mul_(1 - group["lr"] * group["weight_decay"])
        table[rows] = moved.addcdiv_(mean, scale, value=-group["lr"] / (1 - beta1**done))


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
