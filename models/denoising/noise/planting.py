"""Noise put in on purpose, for noise models to learn from: what might stand in an event's place by accident."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Planting = Callable[[Tensor, int, torch.Generator], Tensor]
"""From the log's items [events], the size of the catalogue and a generator to as many other items."""


def uniform(items: Tensor, item_count: int, generator: torch.Generator) -> Tensor:
    """Any item of the catalogue: a click beside the mark."""
    return torch.randint(1, item_count + 1, items.shape, generator=generator, device=items.device)


def popular(items: Tensor, _: int, generator: torch.Generator) -> Tensor:
    """An item of another event of the log, so by popularity: something that everyone clicks at."""
    return items[torch.randint(len(items), items.shape, generator=generator, device=items.device)]


KINDS: Mapping[str, Planting] = {"uniform": uniform, "popular": popular}
"""What is planted. A log's noise is explained by the first as far as it can be, then by the next."""


def kinds_of(planted: str) -> tuple[Planting, ...]:
    """The kind of that name, or "all"."""
    return tuple(KINDS.values()) if planted == "all" else (KINDS[planted],)
