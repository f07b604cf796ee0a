"""Adam, of all of a parameter or of the rows that a step touches.

`torch.optim.Adam` does the same for whole parameters, with the same kernel and to the same bits, but imports torch's
compiler when it is made: two seconds of each training's process, which many trainings are not much longer than.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from models.engine.rows import RowTable, WholeTable, touched

EPSILON = 1e-8


class Adam:
    """Kingma & Ba 2015; with a group's `weight_decay` AdamW (Loshchilov & Hutter 2019), decoupled.

    Of a `RowTable` the touched rows move, and the others, with their moments, stay as they are. Rows that every step
    touches move as Adam moves them. Adam itself goes on to move a row by its old gradients' mean, and lets both moments
    fade, in the steps that do not touch it; here they wait until it is touched again ("lazy" Adam), which is another
    optimiser for rare items. Weight decay takes its share of a row in the steps that touch it. The count of steps that
    corrects the moments' bias is that of all steps. Of a `WholeTable` all rows move, as Adam moves them.
    """

    def __init__(self, groups: Iterable[Mapping[str, Any]], *, betas: tuple[float, float]) -> None:
        """A group has `params` and `lr`, and may have `weight_decay`; all else that it has is its owner's."""
        self.param_groups = [{"weight_decay": 0.0} | dict(group) for group in groups]
        self.betas = betas
        self._state: dict[nn.Parameter, dict[str, Tensor]] = {}
        self._gradients: dict[WholeTable, Tensor] = {}  # zero between steps

    def zero_grad(self) -> None:
        for parameter in self._parameters():
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Raises `TypeError` where a `RowTable` has a gradient of all its rows."""
        for group in self.param_groups:
            moving = [parameter for parameter in group["params"] if parameter.grad is not None]
            whole = [each for each in moving if isinstance(each, WholeTable) or not isinstance(each, RowTable)]
            self._move_whole(whole, [self._dense(each) for each in whole], group)
            for parameter in moving:
                if isinstance(parameter, WholeTable):
                    self._gradients[parameter].index_fill_(0, _gradient(parameter)._indices()[0], 0.0)
                elif isinstance(parameter, RowTable):
                    self._move_rows(parameter, group)

    def state_dict(self) -> dict[str, Any]:
        """The moments of each parameter, in the groups' order."""
        return {"state": [self._state.get(parameter, {}) for parameter in self._parameters()]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        parameters = self._parameters()
        self._state = {one: dict(held) for one, held in zip(parameters, state["state"], strict=True) if held}

    def _dense(self, parameter: nn.Parameter) -> Tensor:
        """The gradient of all of a parameter; that of a `WholeTable` lies in the table's own memory, which is cleared
        row by row after the step.
        """
        gradient = _gradient(parameter)
        if not isinstance(parameter, WholeTable):
            return gradient
        if parameter not in self._gradients:
            self._gradients[parameter] = torch.zeros_like(parameter, requires_grad=False)
        return self._gradients[parameter].index_add_(0, gradient._indices()[0], gradient._values())

    def _move_whole(self, parameters: list[nn.Parameter], gradients: list[Tensor], group: Mapping[str, Any]) -> None:
        held = [self._held(parameter) for parameter in parameters]
        adam(
            list(parameters),
            gradients,
            [each["mean"] for each in held],
            [each["square"] for each in held],
            [],
            [each["step"] for each in held],
            fused=True,
            decoupled_weight_decay=group["weight_decay"] > 0,
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=EPSILON,
            maximize=False,
        )

    def _move_rows(self, table: RowTable, group: Mapping[str, Any]) -> None:
        gradient = _gradient(table)
        if not gradient.is_sparse:
            raise TypeError("the whole item table has a gradient: such a model trains with all rows")
        rows, values = touched(gradient)
        held, (beta1, beta2) = self._held(table), self.betas
        held["step"] += 1
        mean = held["mean"][rows].lerp_(values, 1 - beta1)
        square = held["square"][rows].mul_(beta2).addcmul_(values, values, value=1 - beta2)
        held["mean"][rows], held["square"][rows] = mean, square
        done = held["step"].double()
        scale = square.sqrt_().div_((1 - beta2**done).sqrt()).add_(EPSILON)
        moved = table[rows].mul_(1 - group["lr"] * group["weight_decay"])
        table[rows] = moved.sub_(mean.div_(scale).mul_(group["lr"] / (1 - beta1**done)))

    def _held(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        """step: scalar, the steps that it has had a gradient in; mean, square: its moments, of its shape."""
        if parameter not in self._state:
            step = torch.zeros((), device=parameter.device)
            moments = {name: torch.zeros_like(parameter, requires_grad=False) for name in ("mean", "square")}
            self._state[parameter] = {"step": step, **moments}
        return self._state[parameter]

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.param_groups for parameter in group["params"]]


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
