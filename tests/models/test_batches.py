"""Windows, packing and negative draws."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.engine.batches import UnseenItems, compacted, history_batches, pack, training_batches, user_batches, windows
from models.engine.sequences import InteractionLog, Sequences
from tests.models.conftest import MakeLog


@given(sizes=st.lists(st.integers(0, 12), min_size=1, max_size=40), extra=st.integers(0, 5))
@settings(max_examples=200, deadline=None)
def test_packed_windows_fit_their_rows_and_never_overlap(sizes: list[int], extra: int) -> None:
    length = max(1, *sizes) + extra
    (rows, columns, _), row_count = pack(np.array(sizes), length)
    grid = np.zeros((row_count, length), dtype=int)
    for row, column, size in zip(rows.tolist(), columns.tolist(), sizes, strict=True):
        assert 0 <= column <= length
        assert column + size <= length
        grid[row, column : column + size] += 1
    assert grid.max(initial=0) <= 1
    assert set(rows.tolist()) == set(range(row_count))


def test_packing_wastes_little() -> None:
    sizes = np.random.default_rng(0).integers(1, 11, 1000)
    _, row_count = pack(sizes, 50)
    assert row_count * 50 < 1.02 * sizes.sum()


def two_users(*, trained: list[int]) -> Sequences:
    """Items 1 to 7 of one, and 8 to 10 of the other, of which so many may be trained on."""
    items = torch.arange(1, 11, dtype=torch.int32)
    return Sequences(items, torch.tensor([0, 7, 10]), torch.tensor(trained), item_count=10)


def test_windows_hold_the_last_events_and_what_follows_each() -> None:
    sequences = two_users(trained=[7, 3])
    batch = windows(sequences, torch.tensor([1, 0]), torch.tensor([2, 6]), length=4, with_targets=True)
    assert batch.targets is not None
    assert batch.items.tolist() == [[3, 4, 5, 6], [8, 9, 0, 0]]
    assert batch.targets.tolist() == [[4, 5, 6, 7], [9, 10, 0, 0]]
    assert batch.positions.tolist() == [[0, 1, 2, 3], [2, 3, 0, 0]]
    assert batch.users.tolist() == [[0, 0, 0, 0], [1, 1, 0, 0]]
    assert batch.items.flatten()[batch.ends].tolist() == [9, 6]


def test_windows_say_which_events_are_of_the_training_part() -> None:
    sequences = two_users(trained=[5, 0])
    batch = windows(sequences, torch.tensor([1, 0]), torch.tensor([2, 7]), length=4, with_targets=False)
    assert batch.items.tolist() == [[4, 5, 6, 7], [8, 9, 0, 0]]
    assert batch.trained is not None
    assert batch.trained.tolist() == [[True, True, False, False], [False] * 4]
    assert windows(sequences, torch.tensor([0]), torch.tensor([4]), length=4, with_targets=True).trained is None


def test_short_windows_share_a_row_and_see_only_themselves() -> None:
    sequences = Sequences(
        items=torch.arange(1, 7, dtype=torch.int32),
        offsets=torch.tensor([0, 3, 6]),
        train_lengths=torch.tensor([3, 3]),
        item_count=6,
    )
    batch = windows(sequences, torch.tensor([0, 1]), torch.tensor([2, 2]), length=5, with_targets=True)
    assert batch.items.tolist() == [[1, 2, 4, 5, 0]]
    assert batch.segments.tolist() == [[1, 1, 2, 2, 0]]
    seen = [(i, j) for i, j in torch.nonzero(batch.visible[0]).tolist()]
    assert seen == [(0, 0), (1, 0), (1, 1), (2, 2), (3, 2), (3, 3)]


def test_an_epoch_visits_every_trainable_user_once_and_no_later_event(make_log: MakeLog) -> None:
    log = make_log(lengths=[1, 2, 3, 9, 30, 5, 4])
    sequences = log.sequences
    visited: list[int] = []
    for batch in training_batches(sequences, length=8, batch_size=2, generator=torch.Generator().manual_seed(1)):
        assert batch.targets is not None
        users = batch.users.flatten()[batch.ends]
        visited += users.tolist()
        last = batch.targets.flatten()[batch.ends]
        expected = sequences.items[sequences.offsets[users] + sequences.train_lengths[users] - 1]
        assert last.tolist() == expected.tolist()
    assert sorted(visited) == [1, 3, 4, 5, 6]


def test_users_who_are_held_out_take_no_place_in_a_batch() -> None:
    """As where whole sessions are held out: nothing of theirs may be trained on."""
    sizes = torch.tensor([6, 5, 4, 3, 2])
    sequences = Sequences(
        items=torch.arange(1, 21, dtype=torch.int32),
        offsets=torch.cat([torch.zeros(1, dtype=torch.int64), sizes.cumsum(0)]),
        train_lengths=torch.tensor([6, 0, 1, 3, 0]),
        item_count=20,
    )
    batches = list(training_batches(sequences, length=8, batch_size=2, generator=torch.Generator().manual_seed(1)))
    assert len(batches) == 1
    assert sorted(batches[0].users.flatten()[batches[0].ends].tolist()) == [0, 3]
    assert len(batches[0].cells) == 5 + 2


def test_histories_come_in_the_order_of_the_targets_and_may_be_empty(make_log: MakeLog) -> None:
    log = make_log(lengths=[3, 12, 4])
    targets = log.targets["test"]
    empty = type(targets)(targets.users, targets.items, targets.histories * 0)
    for batch in history_batches(log.sequences, empty, length=5, sizes=[2, 1]):
        assert batch.items.sum() == 0
        assert (batch.segments.flatten()[batch.ends] == 0).all()
    ends = torch.cat(
        [batch.items.flatten()[batch.ends] for batch in history_batches(log.sequences, targets, length=5, sizes=[1, 2])]
    )
    before = log.sequences.items[log.sequences.offsets[targets.users] + targets.histories - 1]
    assert ends.tolist() == before.tolist()


def test_what_is_appended_has_no_time_of_an_event_that_is_to_be_predicted_or_is_anothers() -> None:
    sequences = Sequences(
        items=torch.arange(1, 7, dtype=torch.int32),
        offsets=torch.tensor([0, 3, 3, 6]),
        train_lengths=torch.tensor([2, 0, 2]),
        item_count=6,
        times=torch.arange(10, 70, 10),
    )
    users, stops = torch.tensor([0, 1, 2, 2]), torch.tensor([2, 0, 3, 1])
    batch = windows(sequences, users, stops, length=3, with_targets=False, appended=7)
    assert batch.times is not None
    shown = []
    for row, column in (divmod(end, 3) for end in batch.ends.tolist()):
        own = batch.segments[row] == batch.segments[row, column]
        shown.append((batch.items[row][own].tolist(), batch.times[row][own].tolist()))
    assert shown == [([1, 2, 7], [10, 20, 20]), ([7], [0]), ([5, 6, 7], [50, 60, 60]), ([4, 7], [40, 40])]


def test_negatives_are_uniform_over_exactly_the_unseen_items(make_log: MakeLog) -> None:
    log = make_log(lengths=[12, 5], item_count=15)
    sequences = log.sequences
    unseen = UnseenItems(sequences, sequences.train_lengths)
    draws = unseen.draw(torch.zeros(60_000, dtype=torch.int64), 1, torch.Generator().manual_seed(0)).flatten()
    counts = torch.bincount(draws, minlength=16)
    seen = set(sequences.items[:10].tolist())
    free = [item for item in range(1, 16) if item not in seen]
    assert counts[0] == 0
    assert all(counts[item] == 0 for item in seen)
    expected = 60_000 / len(free)
    assert all(abs(int(counts[item]) - expected) < 5 * expected**0.5 for item in free)


def test_a_user_who_has_seen_everything_still_gets_an_item() -> None:
    sequences = Sequences(
        items=torch.tensor([1, 2, 3], dtype=torch.int32),
        offsets=torch.tensor([0, 3]),
        train_lengths=torch.tensor([3]),
        item_count=3,
    )
    drawn = UnseenItems(sequences, sequences.train_lengths).draw(
        torch.zeros(50, dtype=torch.int64), 2, torch.Generator().manual_seed(0)
    )
    assert int(drawn.min()) >= 1
    assert int(drawn.max()) <= 3


@pytest.mark.parametrize("size", [1, 3])
def test_events_and_grid_are_inverse(make_log: MakeLog, size: int) -> None:
    log = make_log(lengths=[6, 9, 4, 8])
    batch = next(
        iter(training_batches(log.sequences, length=7, batch_size=size, generator=torch.Generator().manual_seed(0)))
    )
    values = torch.arange(len(batch.cells), dtype=torch.float32) + 1
    assert torch.equal(batch.events(batch.grid(values)[..., None]).squeeze(1), values)
    assert int((batch.grid(values) > 0).sum()) == len(values)


def test_where_no_user_has_anything_to_predict_there_is_no_batch(make_log: MakeLog) -> None:
    sequences = make_log(lengths=[1, 3, 1]).sequences
    assert list(user_batches(sequences, batch_size=4, generator=torch.Generator())) == []


def test_compacting_keeps_the_last_of_what_is_left(make_log: MakeLog) -> None:
    """Of windows as they stand, and of what each of their events sees."""
    log = make_log(lengths=[9, 4, 12, 5, 3])
    log = InteractionLog(replace(log.sequences, times=torch.arange(len(log.sequences.items))), log.targets)
    users, stops = torch.tensor([3, 0, 2, 4, 1]), torch.tensor([4, 7, 9, 0, 3])
    batch = windows(log.sequences, users, stops, length=9, with_targets=False)
    kept = torch.rand(batch.items.shape, generator=torch.Generator().manual_seed(1)) < 0.6
    nothing_left = int(batch.ends[4])
    kept.view(-1)[nothing_left - 2 : nothing_left + 1] = False
    assert batch.times is not None
    for ends in (batch.ends, batch.cells):
        packed = compacted(replace(batch, ends=ends), kept, length=4)
        assert packed.times is not None
        for end, new_end in zip(ends.tolist(), packed.ends.tolist(), strict=True):
            row, segment = end // 9 * 9, int(batch.segments.view(-1)[end])
            seen = [cell for cell in range(row, end + 1) if segment and batch.segments.view(-1)[cell] == segment]
            left = ([cell for cell in seen if kept.view(-1)[cell]] or seen)[-4:]
            own = slice(new_end - len(left) + 1, new_end + 1)
            assert packed.times.view(-1)[own].tolist() == batch.times.view(-1)[left].tolist()
            assert packed.items.view(-1)[own].tolist() == batch.items.view(-1)[left].tolist()
            assert packed.positions.view(-1)[own].tolist() == list(range(4 - len(left), 4))
            assert len(set(packed.segments.view(-1)[own].tolist())) <= 1
        assert sorted(packed.cells.tolist()) == torch.nonzero(packed.segments.flatten()).squeeze(1).tolist()
