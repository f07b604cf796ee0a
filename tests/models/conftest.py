"""Small logs as the models read them."""

from collections.abc import Callable, Iterator

import pytest
import torch

from models.engine.sequences import InteractionLog, Sequences, Targets

MakeLog = Callable[..., InteractionLog]


@pytest.fixture
def make_log() -> MakeLog:
    """A leave-one-out log with the given histories, or with random ones of the given lengths."""

    def make(*, lengths: list[int], item_count: int = 30, seed: int = 0) -> InteractionLog:
        generator = torch.Generator().manual_seed(seed)
        sizes = torch.tensor(lengths)
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), sizes.cumsum(0)])
        items = torch.randint(1, item_count + 1, (int(sizes.sum()),), generator=generator, dtype=torch.int32)
        users = torch.nonzero(sizes >= 3).squeeze(1)
        train_lengths = torch.where(sizes >= 3, sizes - 2, sizes)
        targets = {
            split: Targets(users, items[offsets[users] + sizes[users] - back].long(), sizes[users] - back)
            for split, back in (("validation", 2), ("test", 1))
        }
        return InteractionLog(Sequences(items, offsets, train_lengths, item_count), targets)

    return make


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Digits depend on the number of threads, which what runs in this process does not set."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
