"""GRU4Rec against a loop over events, and the order in which packed windows are unrolled."""

from dataclasses import replace

import numpy as np
import torch

from models.catalogue import build
from models.config import ModelConfig
from models.engine.batches import windows
from models.engine.sequences import Sequences
from models.networks.backbone import NextItem
from models.networks.gru4rec import GRU4Rec, in_steps
from tests.models.conftest import MakeLog
from tests.models.references import Weights, perturbed, recorded_dropout, weights_of, window_states

LENGTH = 7
LENGTHS = [4, 3, 9, 5, 6, 1]
DIM = 8


def network(sequences: Sequences) -> GRU4Rec:
    model = build(ModelConfig(backbone="gru4rec", dim=DIM, blocks=2, length=LENGTH), sequences.item_count, seed=4)
    assert isinstance(model, NextItem)
    backbone = perturbed(model.backbone)
    assert isinstance(backbone, GRU4Rec)
    return backbone


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def states_by_hand(
    weights: Weights, items: list[int], kept: tuple[np.ndarray | float, np.ndarray | float, np.ndarray | float]
) -> np.ndarray:
    """[events, dim]: reset, update and candidate (Cho et al. 2014), one event after another; `kept` multiplies the
    embeddings and what each layer puts out.
    """
    x = weights["items.weight"][items] * np.sqrt(DIM) * kept[0]
    for layer in range(2):
        name = f"recurrent.{layer}."
        state, states = np.zeros(DIM), []
        for event in x:
            of_event = weights[name + "weight_ih_l0"] @ event + weights[name + "bias_ih_l0"]
            of_state = weights[name + "weight_hh_l0"] @ state + weights[name + "bias_hh_l0"]
            reset, update = (sigmoid(of_event[part] + of_state[part]) for part in (slice(DIM), slice(DIM, 2 * DIM)))
            candidate = np.tanh(of_event[2 * DIM :] + reset * of_state[2 * DIM :])
            state = (1 - update) * candidate + update * state
            states.append(state)
        x = np.stack(states) * kept[1 + layer]
    return x


def test_equals_the_second_implementation_in_every_window_of_packed_rows(make_log: MakeLog) -> None:
    sequences = make_log(lengths=LENGTHS).sequences
    model = network(sequences)
    batch = windows(sequences, torch.arange(6), sequences.offsets.diff(), length=LENGTH, with_targets=False)
    assert len(batch.items) < 6, "windows share rows"
    for user in range(6):
        items = sequences.items[sequences.offsets[user] : sequences.offsets[user + 1]].tolist()[-LENGTH:]
        expected = states_by_hand(weights_of(model), items, (1.0, 1.0, 1.0))
        np.testing.assert_allclose(window_states(model, batch, user, len(items)), expected, atol=1e-5)
    assert not model.encode(batch)[batch.segments == 0].any()


def test_dropout_falls_on_embeddings_and_on_what_each_layer_puts_out(make_log: MakeLog) -> None:
    sequences = make_log(lengths=LENGTHS).sequences
    model = network(sequences)
    batch = windows(sequences, torch.tensor([2]), torch.tensor([LENGTH]), length=LENGTH, with_targets=False)
    dropout, masks = recorded_dropout()
    ours = model.encode(batch, dropout=dropout)[0].detach().numpy()
    first, second, third = masks
    assert all((mask == 0).any() for mask in masks)
    items = sequences.items[sequences.offsets[2] :][:LENGTH].tolist()
    np.testing.assert_allclose(ours, states_by_hand(weights_of(model), items, (first, second, third)), atol=1e-5)


def test_other_windows_and_later_items_have_no_influence(make_log: MakeLog) -> None:
    sequences = make_log(lengths=LENGTHS).sequences
    model = network(sequences)

    def states(changed: Sequences) -> np.ndarray:
        batch = windows(changed, torch.tensor([0, 1]), torch.tensor([4, 3]), length=LENGTH, with_targets=False)
        assert len(batch.items) == 1
        return window_states(model, batch, 0, 4)

    alone = states(sequences)
    later, neighbour = sequences.items.clone(), sequences.items.clone()
    later[3] = later[3] % 30 + 1
    neighbour[4:] = 1
    np.testing.assert_array_equal(alone[:3], states(replace(sequences, items=later))[:3])
    assert not np.array_equal(alone[3], states(replace(sequences, items=later))[3])
    np.testing.assert_array_equal(alone, states(replace(sequences, items=neighbour)))


def test_packed_windows_are_unrolled_step_by_step_the_longest_first() -> None:
    segments = torch.tensor([[1, 1, 2, 0, 0], [1, 2, 2, 2, 0], [0, 0, 0, 0, 0]])
    cells, sizes = in_steps(segments)
    assert sizes.tolist() == [4, 2, 1]
    assert cells.tolist() == [6, 0, 2, 5, 7, 1, 8]


def test_nothing_to_read_gives_zeros(make_log: MakeLog) -> None:
    sequences = make_log(lengths=LENGTHS).sequences
    batch = windows(sequences, torch.tensor([0]), torch.tensor([0]), length=LENGTH, with_targets=False)
    states = network(sequences).encode(batch)
    assert states.shape == (1, LENGTH, DIM)
    assert not states.any()
