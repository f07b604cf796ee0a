"""FMLP-Rec against the authors' transforms, a loop over histories, and what filters that see no later place change."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.catalogue import build
from models.config import ModelConfig
from models.engine.batches import Batch, windows
from models.engine.sequences import Sequences
from models.networks.backbone import NextItem
from models.networks.fmlp_rec import CausalFilter, CircularFilter, Filter, FilterEnhanced
from tests.models.conftest import MakeLog
from tests.models.references import Weights, linear, normed, perturbed, recorded_dropout, weights_of, window_states

LENGTH = 7
LENGTHS = [4, 3, 9, 5, 6, 1]
CAUSAL, CIRCULAR = BACKBONES = ("fmlp-rec-causal", "fmlp-rec")


def network(sequences: Sequences, backbone: str, *, length: int = LENGTH, blocks: int = 2) -> FilterEnhanced:
    config = ModelConfig(backbone=backbone, dim=6, length=length, blocks=blocks)
    model = build(config, sequences.item_count, seed=4)
    assert isinstance(model, NextItem)
    assert isinstance(model.backbone, FilterEnhanced)
    perturbed(model.backbone)
    return model.backbone


def batch_of(sequences: Sequences, *users: int, length: int = LENGTH) -> Batch:
    """The last events of some users, of all without one."""
    chosen = torch.tensor(users or range(len(sequences.offsets) - 1))
    stops = sequences.offsets.diff()[chosen]
    return windows(sequences, chosen, stops, length=length, with_targets=False)


def filtered(values: np.ndarray, parts: np.ndarray, *, causal: bool) -> np.ndarray:
    """[length, dim] → [length, dim], by the transforms; where it is causal, with as many zeros behind as keep what
    comes round from being seen.
    """
    length = len(values)
    weights = parts[..., 0] + 1j * parts[..., 1]
    if not causal:
        transformed: np.ndarray = np.fft.irfft(
            np.fft.rfft(values, axis=0, norm="ortho") * weights, n=length, axis=0, norm="ortho"
        )
        return transformed
    kernel = np.fft.rfft(np.fft.irfft(weights, n=length, axis=0), n=2 * length, axis=0)
    whole: np.ndarray = np.fft.irfft(np.fft.rfft(values, n=2 * length, axis=0) * kernel, n=2 * length, axis=0)
    return whole[:length]


def gelu(values: np.ndarray) -> np.ndarray:
    activated: np.ndarray = torch.nn.functional.gelu(torch.from_numpy(values)).numpy()
    return activated


def states_by_hand(
    weights: Weights, past: list[int], *, blocks: int, causal: bool, length: int = LENGTH, kept: list[np.ndarray]
) -> np.ndarray:
    """[length, dim]: all places of one history; `kept` are the masks of dropout in their order, or none."""
    masks = iter(kept)

    def dropped(values: np.ndarray) -> np.ndarray:
        return values * next(masks, 1.0)

    padded = [0] * (length - len(past)) + past
    hidden = dropped(
        normed(weights["items.weight"][padded] + weights["positions.weight"], weights, "first_norm", 1e-12)
    )
    for number in range(blocks):
        name = f"blocks.{number}"
        heard = filtered(hidden, weights[f"{name}.filter.weights"], causal=causal)
        hidden = normed(hidden + dropped(heard), weights, f"{name}.filter_norm", 1e-12)
        inner = gelu(linear(hidden, weights, f"{name}.inner"))
        outer = dropped(linear(inner, weights, f"{name}.outer"))
        hidden = normed(hidden + outer, weights, f"{name}.forward_norm", 1e-12)
    return hidden


@pytest.mark.parametrize("length", [LENGTH, 8, 1])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_equals_the_second_implementation_at_every_event(make_log: MakeLog, backbone: str, length: int) -> None:
    sequences = make_log(lengths=LENGTHS).sequences
    model = network(sequences, backbone, length=length)
    weights, batch = weights_of(model), batch_of(sequences, length=length)
    for user in range(len(LENGTHS)):
        items = sequences.items[sequences.offsets[user] : sequences.offsets[user + 1]].tolist()[-length:]
        ours = window_states(model, batch, user, len(items))

        def by_hand(past: list[int]) -> np.ndarray:
            return states_by_hand(weights, past, blocks=2, causal=backbone == CAUSAL, length=length, kept=[])

        if backbone == CAUSAL:
            expected = by_hand(items)[-len(items) :]
        else:
            expected = np.stack([by_hand(items[: event + 1])[-1] for event in range(len(items))])
        np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("filter", [CircularFilter, CausalFilter])
def test_a_filter_is_a_product_in_the_frequencies(filter: type[Filter]) -> None:
    for length in (1, 2, 5, 8):
        torch.manual_seed(length)
        made = filter(length, 3)
        torch.nn.init.normal_(made.weights)
        values = torch.randn(4, length, 3)
        parts = made.weights.detach().double().numpy()
        for row, ours in zip(values.double().numpy(), made(values, places=length).detach(), strict=True):
            np.testing.assert_allclose(ours, filtered(row, parts, causal=filter is CausalFilter), atol=1e-5)
        last = made(values, places=1)
        torch.testing.assert_close(last, made(values, places=length)[:, -1:])


def test_with_one_block_a_history_has_the_same_state_either_way(make_log: MakeLog) -> None:
    """There the last place hears all that was before it, and nothing else."""
    sequences = make_log(lengths=LENGTHS).sequences
    batch = batch_of(sequences)
    states = [network(sequences, backbone, blocks=1).end_states(batch).detach() for backbone in BACKBONES]
    torch.testing.assert_close(*states)
    deep = [network(sequences, backbone).end_states(batch).detach() for backbone in BACKBONES]
    assert not torch.allclose(*deep, atol=1e-3)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_dropout_falls_on_embeddings_filters_and_feed_forward_layers(make_log: MakeLog, backbone: str) -> None:
    sequences = make_log(lengths=LENGTHS).sequences
    model = network(sequences, backbone)
    items = sequences.items[sequences.offsets[2] :][: LENGTHS[2]].tolist()[-LENGTH:]
    batch = batch_of(sequences, 2)
    dropout, masks = recorded_dropout()
    ours = model.event_states(replace(batch, cells=batch.ends), dropout=dropout).detach().double().numpy()
    assert len(masks) == 5
    assert all((mask == 0).any() for mask in masks[:3])
    expected = states_by_hand(weights_of(model), items, blocks=2, causal=backbone == CAUSAL, kept=masks)[-1]
    np.testing.assert_allclose(ours[0], expected, atol=1e-5)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_no_later_event_and_no_other_window_has_influence(make_log: MakeLog, backbone: str) -> None:
    sequences = make_log(lengths=LENGTHS).sequences
    model = network(sequences, backbone)
    batch = batch_of(sequences, 0, 1)
    assert len(batch.items) == 1
    alone = window_states(model, batch, 0, 4)
    for place in range(7):
        items = sequences.items.clone()
        items[place] = items[place] % 30 + 1
        changed = window_states(model, batch_of(replace(sequences, items=items), 0, 1), 0, 4)
        np.testing.assert_array_equal((alone != changed).any(1), [place <= event for event in range(4)])


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_loss_and_the_ranking_read_the_same_states(make_log: MakeLog, backbone: str) -> None:
    """An empty history among them, which has a state of its own, and a batch of nothing else."""
    sequences = make_log(lengths=[4, 3, 9, 0]).sequences
    model = network(sequences, backbone)
    batch = batch_of(sequences)
    whole = model.encode(batch).flatten(0, 1)
    torch.testing.assert_close(model.event_states(batch), whole[batch.cells])
    torch.testing.assert_close(model.end_states(batch)[:3], whole[batch.ends[:3]])
    nothing = model.end_states(batch_of(sequences, 3))
    assert nothing.shape == (1, 6)
    assert nothing.isfinite().all()
