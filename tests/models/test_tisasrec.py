"""TiSASRec against a slow second implementation, and its intervals against the definition."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from models.catalogue import build
from models.config import ModelConfig, TrainingConfig
from models.engine.batches import Batch, windows
from models.engine.sequences import Sequences
from models.engine.training import Training
from models.networks import tisasrec
from models.networks.backbone import NextItem
from models.networks.tisasrec import OwnIntervals, PlacesAndIntervals, TiSASRec, intervals
from tests.models.conftest import MakeLog
from tests.models.references import (
    BLOCKS,
    factors,
    gate_of,
    normed,
    of_window,
    perturbed,
    recorded_dropout,
    weights_of,
    window_states,
)

LENGTH = 7
MOST = 5
TIMES = {0: [10, 13], 1: [5, 5, 9, 30], 2: [0, 4, 6, 6, 7, 100, 101, 103, 110], 3: [8, 8, 8], 4: [1, 2, 4, 8, 16]}


def network(norm: str = "authors") -> TiSASRec:
    sizes = {"dim": 12, "blocks": 2, "heads": 3, "length": LENGTH, "max_interval": MOST}
    model = build(ModelConfig.from_dict({"backbone": "tisasrec", "norm": norm} | sizes), 30, seed=4)
    assert isinstance(model, NextItem)
    assert model.needs == {"times"}
    backbone = perturbed(model.backbone)
    assert isinstance(backbone, TiSASRec)
    return backbone


def timed(make_log: MakeLog) -> Sequences:
    log = make_log(lengths=[len(times) for times in TIMES.values()])
    times = torch.tensor([time for of_user in TIMES.values() for time in of_user])
    return replace(log.sequences, times=times)


def batch_of(sequences: Sequences) -> Batch:
    sizes = sequences.offsets.diff()
    return windows(sequences, torch.arange(len(sizes)), sizes, length=LENGTH, with_targets=False)


def buckets(times: list[int]) -> np.ndarray:
    """By the definition, one pair at a time: what the later event of each sees of the earlier."""
    found = np.zeros((len(times), len(times)), dtype=int)
    for query in range(len(times)):
        seen = times[: query + 1]
        scale = min((later - earlier for earlier, later in pairwise(seen) if later != earlier), default=1)
        steps = [round((time - seen[0]) / scale) + 1 for time in seen]
        found[query, : query + 1] = [min(abs(steps[-1] - step), MOST) for step in steps]
    return found


def by_hand(
    model: TiSASRec,
    items: list[int],
    interval: np.ndarray,
    cells: np.ndarray | None = None,
    *,
    norm: str = "authors",
    kept: Sequence[np.ndarray | float] = (1.0,) * 9,
) -> np.ndarray:
    """`kept` multiplies the embeddings, keys and values of positions, those of intervals, and by layer what a
    feed-forward layer has within and what it adds.
    """
    weights = weights_of(model)
    first = LENGTH - len(items)
    on_items, on_keys, on_values, on_interval_keys, on_interval_values, *on_forward = kept
    place_keys = weights["position_keys.weight"][first:] * on_keys
    place_values = weights["position_values.weight"][first:] * on_values
    interval_keys = weights["interval_keys"] * on_interval_keys
    interval_values = weights["interval_values"] * on_interval_values
    x = weights["items.weight"][items] * np.sqrt(12) * on_items
    for number in range(2):
        x = BLOCKS[norm](
            x,
            weights,
            f"blocks.{number}",
            heads=3,
            mask=of_window(cells, number, len(items)),
            kept=(on_forward[2 * number], on_forward[2 * number + 1]),
            more_keys=lambda t, s: place_keys[s] + interval_keys[interval[t, s]],
            more_values=lambda t, s: place_values[s] + interval_values[interval[t, s]],
        )
    return normed(x, weights, "last_norm", 1e-8)


@pytest.mark.parametrize("cells", [None, factors(layers=2, heads=3, length=LENGTH)], ids=["open", "gated"])
@pytest.mark.parametrize("norm", BLOCKS)
def test_equals_the_second_implementation(make_log: MakeLog, norm: str, cells: np.ndarray | None) -> None:
    """A gate multiplies attention, and thereby all that is attended to: items, positions and intervals."""
    model, sequences = network(norm), timed(make_log)
    batch = batch_of(sequences)
    assert len(batch.items) < 5, "several windows share a row"
    for user, times in TIMES.items():
        items = sequences.items[sequences.offsets[user] : sequences.offsets[user + 1]].tolist()[-LENGTH:]
        expected = by_hand(model, items, buckets(times[-LENGTH:]), cells, norm=norm)
        ours = window_states(model, batch, user, len(items), gate=gate_of(cells))
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_dropout_falls_on_items_on_the_tables_of_places_and_intervals_on_attention_and_on_feed_forward_layers(
    make_log: MakeLog,
) -> None:
    model, sequences = network(), timed(make_log)
    batch = windows(sequences, torch.tensor([2]), torch.tensor([LENGTH]), length=LENGTH, with_targets=False)
    dropout, masks = recorded_dropout()
    ours = model.encode(batch, dropout=dropout)[0].detach().numpy()
    cells = np.stack([masks[5], masks[8]])
    first = int(sequences.offsets[2])
    items, times = sequences.items[first : first + LENGTH].tolist(), TIMES[2][:LENGTH]
    kept = [*masks[:5], *masks[6:8], *masks[9:]]
    np.testing.assert_allclose(ours, by_hand(model, items, buckets(times), cells, kept=kept), atol=1e-5)
    assert all((mask == 0).any() for mask in masks)


def test_without_times_events_are_equally_spaced(make_log: MakeLog) -> None:
    model, sequences = network(), timed(make_log)
    untimed = batch_of(replace(sequences, times=None))
    for user in TIMES:
        items = sequences.items[sequences.offsets[user] : sequences.offsets[user + 1]].tolist()[-LENGTH:]
        expected = by_hand(model, items, buckets(list(range(len(items)))))
        np.testing.assert_allclose(window_states(model, untimed, user, len(items)), expected, atol=1e-5)


def test_intervals_are_each_windows_own(make_log: MakeLog) -> None:
    sequences = timed(make_log)
    batch = batch_of(sequences)
    found = intervals(batch, most=MOST)
    assert int(found.min()) >= 0
    assert int(found.max()) == MOST
    for user, times in TIMES.items():
        size = min(len(times), LENGTH)
        row, column = divmod(int(batch.ends[user]), LENGTH)
        part = slice(column - size + 1, column + 1)
        np.testing.assert_array_equal(found[row, part, part].numpy(), buckets(times[-LENGTH:]))
    assert int(found[~batch.visible].max()) == 0


def test_microseconds_of_centuries_are_told_apart() -> None:
    start, second = 16 * 10**17, 10**6
    times = torch.tensor([[start, start + second, start + 3 * second, start + 10**15]])
    cells = torch.arange(4)
    batch = Batch(
        items=torch.ones(1, 4, dtype=torch.int64),
        users=torch.zeros(1, 4, dtype=torch.int64),
        positions=cells[None],
        segments=torch.ones(1, 4, dtype=torch.int64),
        cells=cells,
        ends=torch.tensor([3]),
        times=times,
    )
    assert intervals(batch, most=256)[0, 3].tolist() == [256, 256, 256, 0]
    assert intervals(batch, most=256)[0, 2].tolist() == [3, 2, 0, 0]


def test_a_later_event_changes_no_earlier_state(make_log: MakeLog) -> None:
    """Nor does a later time, though the smallest gap were only there."""
    model = network()
    sequences = replace(make_log(lengths=[6]).sequences, times=torch.tensor([0, 20, 50, 70, 90, 91]))
    items, times = sequences.items.clone(), sequences.times
    assert times is not None
    items[4] = items[4] % 30 + 1
    changed = replace(sequences, items=items, times=torch.where(torch.arange(6) == 5, 99, times))
    both = [model.encode(batch_of(one)) for one in (sequences, changed)]
    assert torch.equal(both[0][0, :4], both[1][0, :4])
    assert not torch.allclose(both[0][0, 4:6], both[1][0, 4:6])


def test_times_of_other_users_and_of_padding_have_no_influence(make_log: MakeLog) -> None:
    model, sequences = network(), timed(make_log)
    batch = batch_of(sequences)
    assert batch.times is not None
    mine = batch.users.eq(4) & batch.segments.gt(0)
    others = replace(batch, times=torch.where(mine, batch.times, batch.times * 7 - 1000))
    states = [model.encode(one)[mine] for one in (batch, others)]
    assert torch.equal(*states)


def test_padding_and_the_items_of_other_users_have_no_influence(make_log: MakeLog) -> None:
    model, sequences = network(), timed(make_log)
    batch = batch_of(sequences)
    mine = batch.users.eq(4) & batch.segments.gt(0)
    alone = model.encode(batch)[mine]
    others = torch.where(mine | batch.segments.eq(0), batch.items, batch.items % 30 + 1)
    assert not torch.equal(others, batch.items)
    assert torch.equal(alone, model.encode(replace(batch, items=others))[mine])
    with torch.no_grad():
        model.items.weight[0] = 50.0
    assert torch.equal(alone, model.encode(batch)[mine])


def test_no_tensor_has_a_vector_for_each_pair(make_log: MakeLog) -> None:
    """Neither forward nor backward: what is kept for the backward pass is seen through autograd's own hook."""
    model, batch = network(), batch_of(timed(make_log))
    rows, heads, size = len(batch.items), 3, 4
    kept: list[int] = []

    def packed(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(packed, lambda tensor: tensor):
        model.encode(batch).sum().backward()
    assert max(kept) <= rows * LENGTH * max(LENGTH, MOST + 1, size) * heads < rows * LENGTH * LENGTH * 12


@pytest.mark.parametrize("in_blocks", [True, False])
def test_each_rows_own_intervals_are_those_of_its_pairs(monkeypatch: pytest.MonkeyPatch, *, in_blocks: bool) -> None:
    monkeypatch.setattr(tisasrec, "CELLS_OF_A_BLOCK", 2 * (2 * 6 * 3))  # two rows a block
    generator = torch.Generator().manual_seed(0)
    between = torch.randint(6, (5, 3, 3), generator=generator)
    between[3] = 4
    own = OwnIntervals.of(between, buckets=6, heads=2, in_blocks=in_blocks)
    blocks = zip(own.names, own.pairs, strict=True)
    named = torch.cat([names.gather(1, pairs.flatten(1)).view_as(pairs) for names, pairs in blocks])
    assert torch.equal(named[own.back], between)
    assert torch.equal(named, between[own.order])
    counts = [len(row.unique()) for row in between[own.order]]
    widths = [names.shape[1] for names in own.names]
    assert widths == ([max(counts[:2]), max(counts[2:4]), counts[4]] if in_blocks else [6])
    assert not in_blocks or counts == sorted(counts)


def test_the_gradients_of_the_gather_are_those_of_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tisasrec, "CELLS_OF_A_BLOCK", 1)  # a row a block
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    between = torch.randint(4, (2, 3, 3), generator=generator)
    tables = [drawn(2, 2, 3, 2), drawn(2, 2, 3, 2), drawn(2, 4, 2), drawn(2, 4, 2)]
    q, attention = drawn(2, 2, 3, 2), drawn(2, 2, 3, 3)
    own = OwnIntervals.of(between, buckets=4, heads=2, in_blocks=True)
    keys, values = (tuple(table[:, names].transpose(0, 1) for names in own.names) for table in tables[2:])
    ours = PlacesAndIntervals(tables[0], tables[1], keys, values, own)
    keys = tables[0][:, :, None] + tables[2][:, between].transpose(0, 1)
    values = tables[1][:, :, None] + tables[3][:, between].transpose(0, 1)
    for one, other in (
        (q @ ours.position_keys.transpose(2, 3) + ours.scores(q), torch.einsum("bhid,bhijd->bhij", q, keys)),
        (
            attention @ ours.position_values + ours.values(attention),
            torch.einsum("bhij,bhijd->bhid", attention, values),
        ),
    ):
        torch.testing.assert_close(one, other)
        leaves = [q, attention, *tables]
        for mine, plain in zip(
            torch.autograd.grad(one.sin().sum(), leaves, allow_unused=True, retain_graph=True),
            torch.autograd.grad(other.sin().sum(), leaves, allow_unused=True, retain_graph=True),
            strict=True,
        ):
            assert (mine is None) == (plain is None)
            if mine is not None:
                torch.testing.assert_close(mine, plain)


def test_a_log_without_times_is_refused(make_log: MakeLog) -> None:
    log = make_log(lengths=[6, 5, 7])
    model = build(ModelConfig(backbone="tisasrec", dim=8, length=6), 30, seed=1)
    with pytest.raises(ValueError, match="time stamps"):
        Training(model, log, log, TrainingConfig(), seed=1, evaluation_seed=0, device=torch.device("cpu"))
