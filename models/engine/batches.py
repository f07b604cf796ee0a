"""From flat histories to batches: windows, packed several to a row, by gathers alone.

A window is the last `length` events of a history. Short windows share a row: a segment id tells
them apart, and the visibility that follows from it is block-diagonal, so that what is computed for
a window does not depend on its neighbours. A window's events carry the positions they would have
had at the right end of a row of their own (left padding, as in SASRec).
"""

import math
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from models.engine.sequences import Sequences, Targets, owners, places


@dataclass(frozen=True)
class Masking:
    """What masked windows are: `share` of a window's items, at least one, give way to `item`; `last_share` as many
    windows more have but their last item masked.
    """

    item: int
    share: float
    last_share: float


@dataclass(frozen=True)
class Batch:
    """Windows laid out in rows. Cells that hold no event have item, target and segment 0.

    items, users, positions, segments: [rows, length] int64; segments count from 1 within a row; a user that no model
        can know has number -1
    times: [rows, length] int64 or None; an item that is appended has the time of the event before it, 0 without one
    targets: [rows, length] int64, the item that follows each event, of masked windows the one that is there; None where
        nothing is trained
    cells: [events] int64, where in the flattened grid the events lie that a loss is taken at: all the real ones, of
        masked windows those that are masked
    ends: [windows] int64, where each window's last event lies in the flattened grid
    keep, target_keep: [rows, length] float32, how likely each event and each target is genuine, or None where nobody
        has judged; a masked event is 1
    trained: [rows, length] bool, was the event trained on? None where all were
    bidirectional: may an event see the later ones of its window?
    """

    items: Tensor
    users: Tensor
    positions: Tensor
    segments: Tensor
    cells: Tensor
    ends: Tensor
    targets: Tensor | None = None
    times: Tensor | None = None
    keep: Tensor | None = None
    target_keep: Tensor | None = None
    trained: Tensor | None = None
    bidirectional: bool = False

    @cached_property
    def visible(self) -> Tensor:
        """[rows, length, length] bool: may the event of the row see that of the column (its own past and itself, or all
        of its window)?
        """
        return of_one_window(self.segments) if self.bidirectional else visibility(self.segments)

    @cached_property
    def attention_bias(self) -> Tensor:
        """[rows, 1, length, length] float32: 0 where visible, −1e4 elsewhere (finite, so that a row which sees
        nothing stays a number).
        """
        return attention_bias(self.visible)

    @cached_property
    def real(self) -> Tensor:
        """[rows, length, 1] float32: 1 where there is an event."""
        return real_cells(self.segments)

    @cached_property
    def position_pairs(self) -> Tensor:
        """[rows, length, length] int64: (position of the query) × length + (position of the key), for every cell."""
        return self.positions[:, :, None] * self.items.shape[1] + self.positions[:, None, :]

    @cached_property
    def pair_counts(self) -> Tensor:
        """[length, length] int64: how many visible cells have each pair of positions."""
        length = self.items.shape[1]
        counts = torch.zeros(length * length, dtype=torch.int64, device=self.items.device)
        counts.scatter_add_(0, self.position_pairs.flatten(), self.visible.flatten().long())
        return counts.view(length, length)

    def stacked(self, copies: int) -> "Batch":
        """The same windows so many times, copy after copy, for passes that differ in their masks alone."""
        grids = ("items", "users", "positions", "segments", "targets", "times", "keep", "target_keep", "trained")
        shifts = [copy * self.items.numel() for copy in range(copies)]

        stacked = {name: grid.repeat(copies, 1) for name in grids if (grid := getattr(self, name)) is not None}
        stacked["cells"] = torch.cat([self.cells + shift for shift in shifts])
        stacked["ends"] = torch.cat([self.ends + shift for shift in shifts])
        return replace(self, **stacked)

    def events(self, grid: Tensor) -> Tensor:
        """[rows, length, …] → [events, …]: the values at `cells`."""
        return grid.flatten(0, 1).index_select(0, self.cells)

    def grid(self, values: Tensor) -> Tensor:
        """[events] → [rows, length]: the inverse of `events`, with zeros elsewhere."""
        flat = values.new_zeros(self.items.numel())
        return flat.index_copy(0, self.cells, values).view(self.items.shape)


def of_one_window(segments: Tensor) -> Tensor:
    """segments [rows, length] → [rows, length, length] bool: are the two events of one window?"""
    without_padding = segments.masked_fill(segments == 0, -1)
    return without_padding[:, :, None] == segments[:, None, :]


def visibility(segments: Tensor) -> Tensor:
    """segments [rows, length] → `Batch.visible` where an event sees its past and itself."""
    length = segments.shape[1]
    return of_one_window(segments) & torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()


def attention_bias(visible: Tensor) -> Tensor:
    """See `Batch.attention_bias`."""
    return torch.where(visible, 0.0, -1e4)[:, None]


def real_cells(segments: Tensor) -> Tensor:
    """See `Batch.real`."""
    return (segments > 0)[:, :, None].float()


def training_batches(
    sequences: Sequences, *, length: int, batch_size: int, generator: torch.Generator
) -> Iterator[Batch]:
    """One epoch: every user with a training pair once, in random order, `batch_size` users a batch.

    `generator` lies on the CPU. Users with fewer than two training events (those held out have none) have nothing to
    predict and take no place in a batch.
    """
    inputs = (sequences.train_lengths - 1).cpu()
    for users in user_batches(sequences, batch_size=batch_size, generator=generator):
        yield windows(sequences, users, inputs[users], length=length, with_targets=True)


def user_batches(sequences: Sequences, *, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """One epoch: the users [users] of each batch, on the CPU: those with a training pair, in random order."""
    trainable = torch.nonzero(sequences.train_lengths.cpu() > 1).squeeze(1)
    order = trainable[torch.randperm(len(trainable), generator=generator)]
    if len(order):  # of nothing, `split` makes one part
        yield from torch.split(order, batch_size)


def masked_batches(
    sequences: Sequences,
    *,
    length: int,
    batch_size: int,
    generator: torch.Generator,
    masking: Masking,
    mask_generator: torch.Generator,
) -> Iterator[Batch]:
    """As `training_batches`, of windows in which what is masked is to be found from both sides.

    Users' training parts are seen to their ends. `mask_generator` lies on the sequences' device.
    """
    stops = sequences.train_lengths.cpu()
    for users in user_batches(sequences, batch_size=batch_size, generator=generator):
        yield masked_windows(sequences, users, stops[users], length=length, masking=masking, generator=mask_generator)


def history_batches(
    sequences: Sequences, targets: Targets, *, length: int, sizes: Sequence[int], appended: int | None = None
) -> Iterator[Batch]:
    """The targets' histories in their order, in batches of `sizes` windows, which add up to the targets; an empty
    history gives padding. `appended` as of `windows`.
    """
    parts = list(sizes)
    for users, histories in zip(
        torch.split(targets.users.cpu(), parts), torch.split(targets.histories.cpu(), parts), strict=True
    ):
        yield windows(sequences, users, histories, length=length, with_targets=False, appended=appended)


def windows(
    sequences: Sequences,
    users: Tensor,
    stops: Tensor,
    *,
    length: int,
    with_targets: bool,
    appended: int | None = None,
) -> Batch:
    """The last `length` of the first `stops` events of each of `users`, packed into rows.

    users, stops: [windows] int64 on the CPU. With targets, each user must have an event at `stops`. `appended` is an
    item that stands after the events of each window, one fewer, at its end.
    """
    sizes = (stops + int(appended is not None)).clamp(max=length)
    places, row_count = pack(sizes.numpy(), length)
    return placed(
        sequences, users, stops, places, row_count, length=length, with_targets=with_targets, appended=appended
    )


def placed(
    sequences: Sequences,
    users: Tensor,
    stops: Tensor,
    places: Tensor,
    row_count: int,
    *,
    length: int,
    with_targets: bool,
    appended: int | None = None,
) -> Batch:
    """As `windows`, at `places` in `row_count` rows, as of `pack`."""
    device = sequences.device
    appendix = int(appended is not None)
    sizes = (stops + appendix).clamp(max=length)
    history = sizes - appendix
    rows, columns, numbers = places
    total = int(sizes.sum())
    begins = rows * length + columns
    # Of each window where its first event is in the history, in the grid, and among the positions.
    firsts = torch.stack([stops - history, begins, length - sizes]) - (sizes.cumsum(0) - sizes)
    of_windows = torch.stack([users, numbers, sizes, begins + sizes.clamp(min=1) - 1])
    plan = sent(torch.cat([firsts, of_windows]), device)
    sizes, ends = plan[5:]
    window = torch.repeat_interleave(sizes, output_size=total)
    of_events = plan[:5].index_select(1, window)
    of_events[:3] += torch.arange(total, device=device)
    in_history, cells, position, user, number = of_events.unbind()
    source = sequences.offsets.index_select(0, user) + in_history
    if appended is not None:  # its place may lie behind the last event of all
        source = source.clamp(max=len(sequences.items) - 1)

    def laid_out(*values: Tensor, dtype: torch.dtype = torch.int64) -> tuple[Tensor, ...]:
        """Of each [events] a grid [rows, length]."""
        grids = torch.zeros(len(values), row_count * length, dtype=dtype, device=device)
        grids.index_copy_(1, cells, torch.stack([each.to(dtype) for each in values]))
        return grids.view(len(values), row_count, length).unbind()

    def timed(times: Tensor) -> Tensor:
        of_cells = laid_out(times[source])[0]
        if appended is None:
            return of_cells
        # What stands there in the log is the event that is to be predicted, or another user's.
        before = of_cells.flatten()[(ends - 1).clamp(min=0)] * (sizes > 1)
        return of_cells.flatten().index_copy(0, ends, before).view_as(of_cells)

    def judged(events: Tensor) -> Tensor | None:
        return None if sequences.keep is None else laid_out(sequences.keep[events], dtype=torch.float32)[0]

    def trained() -> Tensor:
        part = in_history < sequences.train_lengths[user]
        return laid_out(part if sequences.trained is None else sequences.trained[source], dtype=torch.bool)[0]

    grids = [sequences.items.index_select(0, source), user, position, number]
    if with_targets:
        grids.append(sequences.items.index_select(0, source + 1))
    items, users, positions, segments, *targets = laid_out(*grids)
    return Batch(
        items=items if appended is None else _filled(items, ends, appended),
        users=users,
        positions=positions,
        segments=segments,
        cells=cells,
        ends=ends,
        targets=targets[0] if with_targets else None,
        times=None if sequences.times is None else timed(sequences.times),
        keep=judged(source),
        target_keep=judged(source + with_targets),
        trained=None if with_targets else trained(),
    )


def masked_windows(
    sequences: Sequences,
    users: Tensor,
    stops: Tensor,
    *,
    length: int,
    masking: Masking,
    generator: torch.Generator,
) -> Batch:
    """Windows as of `windows` with some of their items masked; after them the first few again, with only the last item
    masked. How many are masked follows from the sizes alone, so that nothing waits for the device.
    """
    again = math.ceil(masking.last_share * len(users))
    all_stops = torch.cat([stops, stops[:again]])
    batch = windows(sequences, torch.cat([users, users[:again]]), all_stops, length=length, with_targets=False)
    sizes = all_stops.clamp(max=length)
    starts = sizes.cumsum(0) - sizes
    chosen = (masking.share * sizes[: len(users)]).round().long().clamp(min=1)
    window = torch.repeat_interleave(torch.arange(len(users)), chosen)
    places = starts[window] + torch.arange(len(window)) - (chosen.cumsum(0) - chosen)[window]
    last = (starts + sizes - 1)[len(users) :]
    events = torch.repeat_interleave(torch.arange(len(sizes)), sizes)

    device = sequences.device
    drawn = torch.rand(len(events), generator=generator, device=device, dtype=torch.float64)
    events, places, last = (sent(each, device) for each in (events, places, last))
    shuffled = torch.argsort(events + drawn, stable=True)  # within each window
    cells = batch.cells[torch.cat([shuffled[places], last])]
    return replace(
        batch,
        items=_filled(batch.items, cells, masking.item),
        targets=batch.items,
        cells=cells,
        keep=None if batch.keep is None else _filled(batch.keep, cells, 1),
        bidirectional=True,
    )


def compacted(batch: Batch, kept: Tensor, *, length: int) -> Batch:
    """What each of the batch's `ends` sees, its own past and itself, as a window without the events for which `kept`
    [rows, their length] is false: the last `length` events that are left, packed anew. A window that would lose
    everything stays as it is.

    The batch is causal; the one made of it has no targets. How many events are left decides on the rows, so that this
    waits for the device.
    """
    stays = left_over(batch, kept, length=length)
    from_end = stays.sum(1, keepdim=True) - stays.cumsum(1)
    row = batch.ends // batch.items.shape[1]
    window, column = torch.nonzero(stays, as_tuple=True)
    cells = row[window] * batch.items.shape[1] + column
    sizes = torch.bincount(window, minlength=len(batch.ends)).cpu()
    (rows, columns, numbers), row_count = pack(sizes.numpy(), length)
    plan = torch.stack([rows * length + columns + sizes.clamp(min=1) - 1, numbers])
    ends, numbers = sent(plan, batch.ends.device).unbind()
    from_end = from_end[window, column]
    places = ends[window] - from_end

    def laid_out(values: Tensor) -> Tensor:
        grid = torch.zeros(row_count * length, dtype=values.dtype, device=batch.items.device)
        return grid.index_copy_(0, places, values).view(row_count, length)

    return Batch(
        items=laid_out(batch.items.flatten()[cells]),
        users=laid_out(batch.users.flatten()[cells]),
        positions=laid_out(length - 1 - from_end),
        segments=laid_out(numbers[window]),
        cells=places,
        ends=ends,
        times=None if batch.times is None else laid_out(batch.times.flatten()[cells]),
        keep=None if batch.keep is None else laid_out(batch.keep.flatten()[cells]),
        trained=None if batch.trained is None else laid_out(batch.trained.flatten()[cells]),
    )


def left_over(batch: Batch, kept: Tensor, *, length: int) -> Tensor:
    """[ends, their length] bool: of the row of each of the batch's `ends`, which events are in its window of
    `compacted`.
    """
    seen = batch.visible.flatten(0, 1)[batch.ends]
    stays = seen & kept[batch.ends // batch.items.shape[1]]
    stays |= seen & ~stays.any(1, keepdim=True)
    return stays & (stays.sum(1, keepdim=True) - stays.cumsum(1) < length)


def sent(values: Tensor, device: torch.device) -> Tensor:
    """`values`, which lie on the CPU, there; from pinned memory, without which a GPU's past work may be waited for."""
    return (values.pin_memory() if device.type == "cuda" else values).to(device, non_blocking=True)


def pack(sizes: np.ndarray, length: int) -> tuple[Tensor, int]:
    """Places for windows of `sizes` (0 … length) in rows of `length` cells: best fit, longest first.

    Returns [3, windows] int64 — each window's row, first column and number within the row, from 1 — and how many rows
    there are. An empty window takes one cell.
    """
    taken = np.maximum(sizes, 1)
    rows, columns, numbers = ([0] * len(sizes) for _ in range(3))
    open_rows: list[tuple[int, int, int]] = []  # free cells, row, windows in it; by free cells
    row_count = 0
    for window, size in zip(np.argsort(-taken, kind="stable").tolist(), np.sort(-taken).tolist(), strict=True):
        fitting = bisect_left(open_rows, (-size,))
        if fitting < len(open_rows):
            free, row, windows_in_row = open_rows.pop(fitting)
        else:
            free, row, windows_in_row = length, row_count, 0
            row_count += 1
        rows[window], columns[window], numbers[window] = row, length - free, windows_in_row + 1
        if free + size > 0:
            insort(open_rows, (free + size, row, windows_in_row + 1))
    return torch.from_numpy(np.array([rows, columns, numbers], dtype=np.int64)), row_count


class UnseenItems:
    """Uniform draws from the items that a user has not interacted with, exactly, without rejection.

    With a user's distinct items s_0 < s_1 < … (counted from 0), the r-th unseen item is r plus the number of
    j with s_j − j ≤ r. Those shifted items are kept sorted by user, so that a draw is one binary search.
    A user who has interacted with everything gets an arbitrary item.

    none: [users] bool, has the user interacted with everything?
    """

    def __init__(self, sequences: Sequences, lengths: Tensor) -> None:
        """`lengths` [users]: how many of each user's first events count as interacted with."""
        self.item_count = sequences.item_count
        owner = owners(sequences)
        counted = places(sequences) < lengths.to(sequences.device)[owner]
        keys = torch.unique(owner[counted] * self.item_count + sequences.items[counted].long() - 1)
        users = torch.arange(sequences.user_count + 1, device=sequences.device)
        starts = torch.searchsorted(keys, users * self.item_count)
        rank = torch.arange(len(keys), device=sequences.device) - starts[keys // self.item_count]
        self._shifted = keys - rank
        unseen = self.item_count - starts.diff()
        self.none = unseen == 0
        self._of_users = torch.stack([unseen.clamp(min=1), users[:-1] * self.item_count, starts[:-1] - 1])

    def at(self, users: Tensor, numbers: Tensor) -> Tensor:
        """Items (1 …) for non-negative random `numbers`, of the shape of the two broadcast."""
        unseen, first, before = self._of_users[:, users]
        chosen = numbers % unseen
        below = torch.searchsorted(self._shifted, first + chosen, right=True)
        return (chosen + below - before).clamp(max=self.item_count)

    def draw(self, users: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """users [n] → items [n, count]."""
        numbers = torch.empty(len(users), count, dtype=torch.int64, device=users.device)
        return self.at(users[:, None], numbers.random_(generator=generator))


def _filled(grid: Tensor, cells: Tensor, value: int) -> Tensor:
    """[rows, length] with `value` at `cells` of the flattened grid."""
    return grid.flatten().index_fill(0, cells, value).view(grid.shape)
