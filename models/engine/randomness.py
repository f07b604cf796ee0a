"""Named random streams, and dropout whose masks can be drawn once and used twice.

torch's own dropout takes no generator, so two forward passes cannot share its masks and a
resumed run cannot repeat them. Ours draws from a generator that is saved with the checkpoint.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

Value = TypeVar("Value")


class Streams:
    """Independent generators derived from one seed, by name: drawing from one leaves the others as they were."""

    def __init__(self, seed: int, names: Sequence[str], *, device: torch.device) -> None:
        self._generators = {name: _generator(seed, name, device) for name in names}

    def __getitem__(self, name: str) -> torch.Generator:
        return self._generators[name]

    def state_dict(self) -> dict[str, Tensor]:
        return {name: generator.get_state() for name, generator in self._generators.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, generator in self._generators.items():
            generator.set_state(state[name].cpu())


class Dropout:
    """Inverted dropout with masks that `draw` makes, such as `keep_mask` from a generator.

    The masks are kept in the order they were drawn; after `rewind` they are given out again, so that two passes
    which must differ in nothing but their gates share them.
    """

    def __init__(self, draw: Callable[[Tensor, float], Tensor], *, copies: int = 1) -> None:
        """`draw` gives, for values and a probability, a mask of the values' shape. With several `copies`, the values'
        first dimension holds as many passes one after another, which share the masks that a single one would draw.
        """
        self._draw = draw
        self._copies = copies
        self._masks: list[Tensor] = []
        self._next = 0
        self._values: list[tuple[Any, int]] = []
        self._next_value = 0

    def __call__(self, values: Tensor, probability: float) -> Tensor:
        """`values` with each element zeroed with `probability`, the others scaled to keep the mean."""
        if probability == 0.0 or self._copies == 1:
            return self.shared(values, probability)
        passes = values.unflatten(0, (self._copies, -1))
        return (passes * self._mask(passes[0], probability)).flatten(0, 1)

    def shared(self, values: Tensor, probability: float) -> Tensor:
        """As a call, of values that every copy reads, such as a table, and that have no dimension for them."""
        return values if probability == 0.0 else values * self._mask(values, probability)

    def once(self, compute: Callable[[], Value]) -> Value:
        """What `compute` gives, masks included: computed in the first pass, given out again in those after it.

        For what comes before anything that passes differ in. Only the first pass can be differentiated through it.
        """
        if self._next_value == len(self._values):
            value = compute()
            self._values.append((value, self._next))
        self._next_value += 1
        value, self._next = self._values[self._next_value - 1]
        return value

    def rewind(self) -> None:
        """Start the next pass with the masks of the first."""
        self._next = 0
        self._next_value = 0

    def _mask(self, values: Tensor, probability: float) -> Tensor:
        if self._next == len(self._masks):
            self._masks.append(self._draw(values, probability))
        self._next += 1
        return self._masks[self._next - 1]


def once(dropout: Dropout | None, compute: Callable[[], Value]) -> Value:
    """See `Dropout.once`; a pass without dropout shares nothing."""
    return compute() if dropout is None else dropout.once(compute)


def keep_mask(values: Tensor, probability: float, *, generator: torch.Generator) -> Tensor:
    """A mask for `values`, as of `keep_masks`."""
    words = torch.empty(word_count(values.numel()), dtype=torch.int64, device=values.device)
    return keep_masks(draw_words(words, generator), values.shape, probability, dtype=values.dtype)


def word_count(cells: int) -> int:
    """How many random words a mask of so many cells takes."""
    return math.ceil(cells / _DRAWS_OF_A_WORD)


def draw_words(words: Tensor, generator: torch.Generator) -> Tensor:
    """`words` [n] int64, overwritten with 64 random bits each."""
    return words.random_(-(2**63), None, generator=generator)


def keep_masks(words: Tensor, shape: torch.Size, probability: float, *, dtype: torch.dtype) -> Tensor:
    """words […, n] int64 → […, *shape]: masks of 0 and 1/(1 - p).

    Four 16-bit draws are cut from each 64-bit word: a quarter of the generator's cost. p is thereby
    rounded to a multiple of 2**-16, and the scale is that of the rounded p.
    """
    draws = split_words(words)[..., : shape.numel()].unflatten(-1, shape)
    masks = torch.empty(draws.shape, dtype=dtype, device=draws.device)  # a fifth of the time by way of bools
    least, scale = _least_kept(probability)
    return torch.ge(draws, least, out=masks).mul_(scale)


def split_words(words: Tensor) -> Tensor:
    """words […, n] int64 → […, 4 n] int16: the draws of which masks are made."""
    return words.view(torch.int16)


def mask_of(draws: Tensor, probability: float, *, dtype: torch.dtype) -> Tensor:
    """`draws` […] int16 → […]: the mask of them that `keep_masks` makes, in operations that a compiler can fuse."""
    least, scale = _least_kept(probability)
    return (draws >= least).to(dtype) * scale


def derived_seed(seed: int, name: str) -> int:
    """The seed of a use's own draws, of those of a whole training."""
    derived = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(derived[:8], "big") >> 1


def hashed_integers(seed: int, *keys: Tensor) -> Tensor:
    """Uniform integers in [0, 2**62) that depend on nothing but `seed` and the broadcast `keys`.

    A counter-based generator (the finaliser of SplitMix64 after each key): any block of values can
    be computed alone, on any device, with the same result.
    """
    state: Any = _wrapped(seed * _GOLDEN)
    for key in keys:
        state = _mixed(key.long() * _wrapped(_GOLDEN) + state)
    return state & (2**62 - 1)


_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB
_RANDOM_BITS = 16
_DRAWS_OF_A_WORD = 64 // _RANDOM_BITS


def _least_kept(probability: float) -> tuple[int, float]:
    """The least draw that is kept, of which there is one at least, and what the kept values are multiplied by."""
    levels = 2**_RANDOM_BITS
    dropped = min(round(probability * levels), levels - 1)
    return dropped - levels // 2, levels / (levels - dropped)


def _generator(seed: int, name: str, device: torch.device) -> torch.Generator:
    return torch.Generator(device=device).manual_seed(derived_seed(seed, name))


def _wrapped(value: int) -> int:
    """`value` modulo 2**64 as a signed 64-bit integer."""
    return (value + 2**63) % 2**64 - 2**63


def _mixed(state: Tensor) -> Tensor:
    state = (state ^ _logical_shift(state, 30)) * _wrapped(_MIX_1)
    state = (state ^ _logical_shift(state, 27)) * _wrapped(_MIX_2)
    return state ^ _logical_shift(state, 31)


def _logical_shift(state: Tensor, bits: int) -> Tensor:
    return (state >> bits) & ((1 << (64 - bits)) - 1)
