"""Jacobian regularisation by random projection (Rec-Denoiser, eq. 12; Hoffman et al. 2019).

Convention: R_J = Σ_blocks ‖J‖²_F for a window, averaged over the batch's windows, where J is the derivative of a
block's output (its real positions × dim) by its input, residual path included, under the dropout and the masks of the
pass that trains the weights. One v ~ N(0, I) a block estimates it as ‖vᵀJ‖², whose expectation is ‖J‖²_F. The public
reference (facebookresearch/jacobian_regularizer) draws v of unit length, scales by the number of outputs and halves:
its value is half of this one in expectation, so that a γ of theirs is γ / 2 here.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.engine.batches import Batch

Trace = list[tuple[Tensor, Tensor]]
"""(input, output) of each block of one forward pass, both in its graph."""


@dataclass(frozen=True)
class JacobianPenalty:
    """γ · R_J in every `every`-th step, there `every` times as strong, so that the mean over steps is the same."""

    gamma: float
    every: int = 1

    def due(self, step: int) -> bool:
        return step % self.every == 0

    def __call__(self, trace: Trace, batch: Batch, *, normals: Callable[..., Tensor]) -> Tensor:
        """The term of the objective, a scalar that can be differentiated. `trace` is of a pass over `batch`, or over
        several copies of it, of which the first counts.
        """
        total = squared_jacobian(trace, batch, normals=normals) / len(batch.ends)
        return self.gamma * self.every * total


def squared_jacobian(trace: Trace, batch: Batch, *, normals: Callable[..., Tensor]) -> Tensor:
    """An unbiased estimate of Σ_windows Σ_blocks ‖J‖²_F: windows do not see one another, so that one backward pass
    serves all of them.
    """
    total = batch.real.new_zeros(())
    for inputs, outputs in trace:
        rows = len(batch.items)
        projection = torch.zeros_like(outputs)
        projection[:rows] = normals(*outputs[:rows].shape) * batch.real
        (product,) = torch.autograd.grad(outputs, inputs, projection, create_graph=True)
        total = total + product.square().sum()
    return total


@contextlib.contextmanager
def traced(blocks: nn.ModuleList, trace: Trace) -> Iterator[None]:
    """Add to `trace` what goes into and comes out of each block while the context lasts."""

    def record(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        trace.append((inputs[0], output))

    hooks = [block.register_forward_hook(record) for block in blocks]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
