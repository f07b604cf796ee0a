"""The small random log that a person's own models are asked about, and how what they say of it is compared."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from models.engine.sequences import Sequences, training_part
from models.own import in_a_line

ITEMS = 30
SIZES = (5, 2, 9, 3, 7, 1, 4, 6, 0)
"""Events of the small log's users that may be trained on."""
HELD_OUT = 2
"""How many each has beside those."""
LATER = 10**10
"""By how much the times of events are moved that nothing may depend on, in microseconds."""
APART = 1e-4
"""By how much of the largest a number may be off where it should be the same: rounding alone."""
FROM_TORCH = "draw with torch, or from `draws`"
CHANGES_WITH_HELD_OUT = (
    "changes with events that are held out: of each user's events the first `sequences.train_lengths` alone may be "
    "read, those for which `models.engine.sequences.training_part` is true"
)


def small_log() -> Sequences:
    """Random histories with times, whose last events are held out."""
    generator = torch.Generator().manual_seed(3)
    trained = torch.tensor(SIZES)
    sizes = trained + HELD_OUT
    events = int(sizes.sum())
    return Sequences(
        items=torch.randint(1, ITEMS + 1, (events,), generator=generator).int(),
        offsets=torch.cat([sizes.new_zeros(1), sizes.cumsum(0)]),
        train_lengths=trained,
        item_count=ITEMS,
        times=torch.randint(1, 10**9, (events,), generator=generator).sort().values,
    )


def with_others_held_out(log: Sequences) -> Sequences:
    """Other items at other times where events are held out, and the same to train on."""
    held_out = ~training_part(log)
    return replace(log, items=others(log.items, held_out), times=moved(log.times, held_out))


def alike(first: Tensor, second: Tensor) -> bool:
    """But for rounding, and with what is no number in the same places."""
    largest = max([1.0, *first.detach().abs().nan_to_num().flatten().tolist()])
    return first.shape == second.shape and torch.allclose(first, second, rtol=0, atol=APART * largest, equal_nan=True)


def equal(first: Tensor, second: Tensor | None) -> bool:
    """To the bit, and with what is no number in the same places."""
    return second is not None and first.shape == second.shape and bool(((first == second) | (first != first)).all())


def others(items: Tensor, where: Tensor) -> Tensor:
    """Other items of the catalogue at these places."""
    return torch.where(where, items % ITEMS + 1, items)


def moved(times: Tensor | None, where: Tensor) -> Tensor | None:
    """Later times at these places."""
    return None if times is None else times + LATER * where


def not_loaded(model: nn.Module, state: Mapping[str, Tensor]) -> str | None:
    """Have a new model take a state that another kept; what is wrong where it cannot."""
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        return (
            "what is saved of it cannot be loaded, for it has other parts or shapes once it has read the log: its "
            f"constructor makes each buffer with the shape that it will have ({in_a_line(error)})"
        )
    return None
