"""Interaction histories as flat arrays: loaded once, kept on the training device."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Sequences:
    """All users' histories, oldest first, in compressed sparse rows.

    items: [events] int32, 1 … item_count (0 is padding and never occurs)
    offsets: [users + 1] int64, where each user's events begin
    train_lengths: [users] int64, how many of a user's first events may be trained on
    times: [events] int64 in microseconds, or None where the log has no times
    keep: [events] float32, how likely each event is genuine, or None where nobody has judged
    trained: [events] bool, which events were trained on, or None where those that may be are
    """

    items: Tensor
    offsets: Tensor
    train_lengths: Tensor
    item_count: int
    times: Tensor | None = None
    keep: Tensor | None = None
    trained: Tensor | None = None

    @property
    def user_count(self) -> int:
        return len(self.offsets) - 1

    @property
    def device(self) -> torch.device:
        return self.items.device

    def to(self, device: torch.device) -> "Sequences":
        return replace(
            self,
            items=self.items.to(device),
            offsets=self.offsets.to(device),
            train_lengths=self.train_lengths.to(device),
            times=None if self.times is None else self.times.to(device),
            keep=None if self.keep is None else self.keep.to(device),
            trained=None if self.trained is None else self.trained.to(device),
        )

    def only(self, kept: Tensor) -> "Sequences":
        """The events for which `kept` [events] is true."""
        owner = owners(self)
        before_end = training_part(self)
        sizes = torch.bincount(owner[kept], minlength=self.user_count)
        return replace(
            self,
            items=self.items[kept],
            offsets=torch.cat([self.offsets[:1], sizes.cumsum(0)]),
            train_lengths=torch.bincount(owner[kept & before_end], minlength=self.user_count),
            times=None if self.times is None else self.times[kept],
            keep=None if self.keep is None else self.keep[kept],
            trained=None if self.trained is None else self.trained[kept],
        )

    def read_after(self, log: "Sequences") -> "Sequences":
        """These histories for a model that was trained on `log`, in which users and items have the same numbers.

        Of a user's training part, those events count as trained on whose items the user's part in `log` has: where the
        logs differ by noise, what was replaced or put in does not, and what has moved does.
        """
        part = training_part(self)
        keys = [owners(each) * (self.item_count + 1) + each.items for each in (self, log)]
        return replace(self, trained=part & torch.isin(keys[0], keys[1][training_part(log)]))


@dataclass(frozen=True)
class Targets:
    """Who is ranked on what: one row a target.

    users: [targets] int64; items: [targets] int64; histories: [targets] int64, the number of the
    user's events that come before the target and may be seen when it is predicted.
    """

    users: Tensor
    items: Tensor
    histories: Tensor

    def __len__(self) -> int:
        return len(self.users)

    def to(self, device: torch.device) -> "Targets":
        return Targets(self.users.to(device), self.items.to(device), self.histories.to(device))


@dataclass(frozen=True)
class InteractionLog:
    """Sequences with their targets by split ('validation', 'promotion', 'test'), as exported from a snapshot.

    A user may have any number of targets, in any split; a split may have none.
    """

    sequences: Sequences
    targets: dict[str, Targets]

    def to(self, device: torch.device) -> "InteractionLog":
        return InteractionLog(
            self.sequences.to(device), {split: targets.to(device) for split, targets in self.targets.items()}
        )


def load_log(path: Path) -> InteractionLog:
    """Read an .npz of `items`, `offsets`, `train_lengths`, `item_count`, optionally `times`, and for every split
    `<split>_users`, `<split>_items`, `<split>_histories` (see `Sequences` and `Targets`).

    Raises `ValueError` where the arrays contradict each other.
    """
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: torch.from_numpy(stored[name]) for name in stored.files}
    sequences = Sequences(
        items=arrays["items"].int(),
        offsets=arrays["offsets"].long(),
        train_lengths=arrays["train_lengths"].long(),
        item_count=int(arrays["item_count"]),
        times=arrays.get("times"),
    )
    splits = [name.removesuffix("_histories") for name in arrays if name.endswith("_histories")]
    targets = {
        split: Targets(*(arrays[f"{split}_{part}"].long() for part in ("users", "items", "histories")))
        for split in splits
    }
    _check(sequences, targets)
    return InteractionLog(sequences, targets)


def owners(sequences: Sequences) -> Tensor:
    """[events] int64: the user of each event."""
    users = torch.arange(sequences.user_count, device=sequences.device)
    return torch.repeat_interleave(users, sequences.offsets.diff(), output_size=len(sequences.items))


def places(sequences: Sequences) -> Tensor:
    """[events] int64: how many events of its user stand before each."""
    return torch.arange(len(sequences.items), device=sequences.device) - sequences.offsets[owners(sequences)]


def training_part(sequences: Sequences) -> Tensor:
    """[events] bool: which events may be trained on."""
    return places(sequences) < sequences.train_lengths[owners(sequences)]


def _check(sequences: Sequences, targets: dict[str, Targets]) -> None:
    lengths = sequences.offsets.diff()
    if int(sequences.offsets[-1]) != len(sequences.items) or bool((lengths < 0).any()):
        raise ValueError("the offsets do not cover the events")
    if bool((sequences.train_lengths > lengths).any()):
        raise ValueError("a user's training part is longer than the user's history")
    if len(sequences.items) and not (
        int(sequences.items.min()) >= 1 and int(sequences.items.max()) <= sequences.item_count
    ):
        raise ValueError(f"items must lie in 1 … {sequences.item_count}")
    for split, rows in targets.items():
        if bool((rows.histories > lengths[rows.users]).any()):
            raise ValueError(f"a {split} target claims a longer history than its user has")
