"""Adam, of all of a parameter, or of the rows that a step reads while the others catch up when they are read again.

`torch.optim.Adam` does the same for whole parameters, with the same kernel and to the same bits, but imports torch's
compiler when it is made: two seconds of each training's process, which many trainings are not much longer than.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from models.engine.batches import sent
from models.engine.rows import RowTable, touched

EPSILON = 1e-8
LONGEST_WAIT = 1000
"""Steps after which all rows of a table catch up."""
ROWS_AT_A_TIME = 1 << 16
NOT_WAITED_FOR = ("cuda",)
"""Devices on which it takes longer to hear which rows wait than to compute for those as well that do not."""


class Adam:
    """Kingma & Ba 2015; with a group's `weight_decay` AdamW (Loshchilov & Hutter 2019), decoupled.

    Of a `RowTable` a step moves the rows that have a gradient, and leaves the others behind. Adam goes on to move these
    by their old gradients' mean, while both moments fade and weight decay takes its share: what it has done to a row
    `Meanwhile` knows in closed form, and it is made up for before the row is read again. Until `settle` the rows that
    wait, and their moments, are those of an earlier step.
    """

    def __init__(self, groups: Iterable[Mapping[str, Any]], *, betas: tuple[float, float]) -> None:
        """A group has `params` and `lr`, and may have `weight_decay`; all else that it has is its owner's."""
        self.param_groups = [{"weight_decay": 0.0} | dict(group) for group in groups]
        self.betas = betas
        self._state: dict[nn.Parameter, dict[str, Tensor]] = {}
        tables = [parameter for parameter in self._parameters() if isinstance(parameter, RowTable)]
        self._meanwhile = {table: Meanwhile(table, betas) for table in tables}
        for table in tables:
            table.catch_up = partial(self._catch_up, table)

    def zero_grad(self) -> None:
        for parameter in self._parameters():
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Raises `TypeError` where a `RowTable` has a gradient of all its rows."""
        alike: dict[tuple[float, float], list[nn.Parameter]] = {}  # one call for those of several groups is less dear
        for group in self.param_groups:
            for parameter in group["params"]:
                if isinstance(parameter, RowTable) and parameter.grad is not None:
                    self._move_rows(parameter, group)
                elif parameter.grad is not None:
                    alike.setdefault((group["lr"], group["weight_decay"]), []).append(parameter)
        for (rate, decay), parameters in alike.items():
            self._move_whole(parameters, rate=rate, decay=decay)

    def settle(self) -> None:
        """Bring every row up to the last step: parameters and moments are those of Adam then."""
        for table in self._meanwhile:
            self._settle(table)

    def state_dict(self) -> dict[str, Any]:
        """The moments of each parameter, in the groups' order, after `settle`."""
        self.settle()
        return {"state": [self._state.get(parameter, {}) for parameter in self._parameters()]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from moments that belong to the parameters as they are."""
        parameters = self._parameters()
        self._state = {one: dict(held) for one, held in zip(parameters, state["state"], strict=True) if held}
        for table, meanwhile in self._meanwhile.items():
            meanwhile.restart(done=int(self._held(table)["step"]))

    def _move_whole(self, parameters: list[nn.Parameter], *, rate: float, decay: float) -> None:
        held = [self._held(parameter) for parameter in parameters]
        adam(
            list(parameters),
            [_gradient(parameter) for parameter in parameters],
            [each["mean"] for each in held],
            [each["square"] for each in held],
            [],
            [each["step"] for each in held],
            fused=True,
            decoupled_weight_decay=decay > 0,
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=rate,
            weight_decay=decay,
            eps=EPSILON,
            maximize=False,
        )

    def _move_rows(self, table: RowTable, group: Mapping[str, Any]) -> None:
        gradient = _gradient(table)
        if not gradient.is_sparse:
            raise TypeError("the whole item table has a gradient: such a model trains with all rows")
        rows, values = touched(gradient)
        held, meanwhile, (beta1, beta2) = self._held(table), self._meanwhile[table], self.betas
        held["step"] += 1
        mean = held["mean"].index_select(0, rows).lerp_(values, 1 - beta1)
        square = held["square"].index_select(0, rows).mul_(beta2).addcmul_(values, values, value=1 - beta2)
        held["mean"].index_copy_(0, rows, mean)
        held["square"].index_copy_(0, rows, square)
        rate, decay, done = group["lr"], group["weight_decay"], meanwhile.done + 1
        scale = square.sqrt_().div_((1 - beta2**done) ** 0.5).add_(EPSILON)
        moved = table.index_select(0, rows).mul_(1 - rate * decay)
        table.index_copy_(0, rows, moved.addcdiv_(mean, scale, value=-rate / (1 - beta1**done)))
        meanwhile.step(rows, rate=rate, decay=decay)
        if meanwhile.steps >= LONGEST_WAIT:
            self._settle(table)

    def _settle(self, table: RowTable) -> None:
        meanwhile = self._meanwhile[table]
        if meanwhile.steps:
            for rows in torch.arange(len(table), device=table.device).split(ROWS_AT_A_TIME):
                self._catch_up(table, rows)
            meanwhile.restart(done=meanwhile.done)

    @torch.no_grad()
    def _catch_up(self, table: RowTable, numbers: Tensor) -> None:
        held, meanwhile = self._held(table), self._meanwhile[table]
        if not meanwhile.steps:
            return
        rows, (kept, moved, mean_left, square_left) = meanwhile.of(numbers)
        mean, square = held["mean"].index_select(0, rows), held["square"].index_select(0, rows)
        ratio = mean.div(square.sqrt().add_(meanwhile.epsilon))
        # By `data`: what was read before keeps its gradient, as its rows are none of those that change.
        values = table.data
        values.index_copy_(0, rows, values.index_select(0, rows).mul_(kept).sub_(ratio.mul_(moved)))
        held["mean"].index_copy_(0, rows, mean.mul_(mean_left))
        held["square"].index_copy_(0, rows, square.mul_(square_left))
        meanwhile.caught_up(rows)

    def _held(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        """step: scalar, the steps that it has had a gradient in; mean, square: its moments, of its shape."""
        if parameter not in self._state:
            step = torch.zeros((), device=parameter.device)
            moments = {name: torch.zeros_like(parameter, requires_grad=False) for name in ("mean", "square")}
            self._state[parameter] = {"step": step, **moments}
        return self._state[parameter]

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.param_groups for parameter in group["params"]]


class Meanwhile:
    """What Adam has done to rows of a table that no gradient has reached, by the number of steps that they have waited.

    A row whose moments were m and v has m β1^j and v β2^j in the j-th step that it waits. In that step, the t-th of
    all, Adam moves it by −rate c m β1^j / (√v β2^(j/2) + ε √(1 − β2^t)), where c = √(1 − β2^t) / (1 − β1^t): but for ε
    the multiple rate c (β1 / √β2)^j of m / √v, which is the same for all rows. So are the sums of these multiples over
    the steps, each less what weight decay takes of it in the steps that follow. ε, beside which √v fades, is taken to
    fade with it.
    """

    def __init__(self, table: RowTable, betas: tuple[float, float]) -> None:
        self._betas = betas
        self._like = table.data[:0]
        self._current = torch.zeros(len(table), dtype=torch.int64, device=table.device)
        self.restart(done=0)

    @property
    def steps(self) -> int:
        """That have been taken since all rows were up to date."""
        return len(self._moved) - 1

    @property
    def epsilon(self) -> float:
        """Adam's, beside the root of the mean square as it is before its bias is corrected."""
        return EPSILON * (1 - self._betas[1] ** self.done) ** 0.5

    def restart(self, *, done: int) -> None:
        """All rows are up to date, after so many steps."""
        self.done = done
        self._current.fill_(done)
        self._kept, self._moved = np.ones(1), np.zeros(1)
        self._shares = self._table()

    def step(self, rows: Tensor, *, rate: float, decay: float) -> None:
        """One is taken, in which these rows [n] move by a gradient."""
        beta1, beta2 = self._betas
        self.done += 1
        self.caught_up(rows)
        kept = 1 - rate * decay
        multiple = rate * (1 - beta2**self.done) ** 0.5 / (1 - beta1**self.done)
        waited = np.arange(1, len(self._moved) + 1)
        self._moved = np.append(0.0, kept * self._moved + multiple * (beta1 / beta2**0.5) ** waited)
        self._kept = np.append(1.0, kept * self._kept)
        self._shares = self._table()

    def of(self, numbers: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """numbers […] → those of the rows that wait [n] (of all, where that is not waited for), and by row [n, 1]: the
        share that weight decay has left of it, the multiple of its ratio of moments that it has moved back by, and what
        is left of the moments.
        """
        rows = numbers.flatten()
        waited = self.done - self._current.index_select(0, rows)
        if rows.device.type not in NOT_WAITED_FOR:
            some = waited.nonzero().squeeze(1)
            rows, waited = rows.index_select(0, some), waited.index_select(0, some)
        return rows, self._shares.index_select(0, waited).split(1, dim=1)

    def caught_up(self, rows: Tensor) -> None:
        """These rows [n] are up to date."""
        self._current.index_fill_(0, rows, self.done)

    def _table(self) -> Tensor:
        """[steps + 1, 4]: by the number of steps that were waited, what `of` says."""
        waited = np.arange(len(self._moved))
        columns = (self._kept, self._moved, *(beta**waited for beta in self._betas))
        shares = torch.from_numpy(np.stack(columns, axis=1)).to(self._like.dtype)
        return sent(shares, self._like.device)


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
