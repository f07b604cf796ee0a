"""Buffers whose size the log decides."""

from collections.abc import Mapping

from torch import Tensor, nn


def make_room(module: nn.Module, state_dict: Mapping[str, Tensor], prefix: str, *names: str) -> None:
    """Give `module` buffers of these names that are as large as the stored ones, so that those can be loaded."""
    for name in names:
        stored = state_dict.get(prefix + name)
        if stored is not None:
            setattr(module, name, stored.new_empty(stored.shape, device=getattr(module, name).device))
