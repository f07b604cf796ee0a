"""SASRec against a slow second implementation, and what must have no influence."""

import math

import numpy as np
import pytest
import torch

from models.catalogue import build
from models.config import ModelConfig
from models.engine.batches import windows
from models.engine.sequences import Sequences
from models.networks.backbone import NextItem
from models.networks.sasrec import SASRec
from tests.models.conftest import MakeLog
from tests.models.references import (
    BLOCKS,
    Weights,
    factors,
    gate_of,
    normed,
    of_window,
    recorded_dropout,
    weights_of,
    window_states,
)

LENGTH = 7
CONFIG = ModelConfig(dim=12, blocks=2, heads=3, length=LENGTH)


def backbone(norm: str = "authors") -> SASRec:
    model = build(ModelConfig(**(CONFIG.to_dict() | {"norm": norm})), 30, seed=4)
    assert isinstance(model, NextItem)
    assert isinstance(model.backbone, SASRec)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(
                0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel()))
            )
        model.backbone.items.weight[0].zero_()
    return model.backbone


def embedded(weights: Weights, items: list[int]) -> np.ndarray:
    return weights["items.weight"][items] * math.sqrt(12) + weights["positions.weight"][LENGTH - len(items) :]


def by_hand(network: SASRec, items: list[int], norm: str, cells: np.ndarray | None = None) -> np.ndarray:
    """One user's hidden states by loops over positions, in float64, without padding; under the `factors`, if any."""
    weights = weights_of(network)
    x = embedded(weights, items)
    for number in range(2):
        x = BLOCKS[norm](x, weights, f"blocks.{number}", heads=3, mask=of_window(cells, number, len(items)))
    return normed(x, weights, "last_norm", 1e-8)


@pytest.mark.parametrize("cells", [None, factors(layers=2, heads=3, length=LENGTH)], ids=["open", "gated"])
@pytest.mark.parametrize("norm", ["authors", "pre", "post"])
def test_equals_the_second_implementation(make_log: MakeLog, norm: str, cells: np.ndarray | None) -> None:
    """A gate multiplies attention after its softmax, and what it takes is not shared out among the rest."""
    network = backbone(norm)
    sequences = make_log(lengths=[2, 4, 9, 3, 5]).sequences
    batch = windows(sequences, torch.arange(5), sequences.offsets.diff(), length=LENGTH, with_targets=False)
    for user in range(5):
        items = sequences.items[sequences.offsets[user] : sequences.offsets[user + 1]].tolist()[-LENGTH:]
        ours = window_states(network, batch, user, len(items), gate=gate_of(cells))
        np.testing.assert_allclose(ours, by_hand(network, items, norm, cells), atol=1e-5)


@pytest.mark.parametrize("gate", [None, factors(layers=2, heads=3, length=LENGTH)], ids=["open", "gated"])
@pytest.mark.parametrize("norm", BLOCKS)
def test_dropout_falls_on_embeddings_attention_and_twice_on_each_feed_forward_layer(
    make_log: MakeLog, norm: str, gate: np.ndarray | None
) -> None:
    """The probabilities of attention are dropped after softmax and gate, and those that stay are scaled."""
    network = backbone(norm)
    log = make_log(lengths=[LENGTH])
    batch = windows(log.sequences, torch.tensor([0]), torch.tensor([LENGTH]), length=LENGTH, with_targets=False)
    dropout, masks = recorded_dropout()
    ours = network.encode(batch, dropout=dropout, gate=gate_of(gate))[0].detach().numpy()
    on_embeddings, *of_blocks = masks
    weights = weights_of(network)
    x = embedded(weights, log.sequences.items.tolist()) * on_embeddings
    for number, (cells, inner, outer) in enumerate((of_blocks[:3], of_blocks[3:])):
        mask = cells if gate is None else cells * gate[number]
        x = BLOCKS[norm](x, weights, f"blocks.{number}", heads=3, mask=mask, kept=(inner, outer))
    np.testing.assert_allclose(ours, normed(x, weights, "last_norm", 1e-8), atol=1e-5)
    assert all((mask == 0).any() for mask in masks)


def test_padding_future_items_and_other_users_have_no_influence(make_log: MakeLog) -> None:
    network = backbone()
    log = make_log(lengths=[4, 3, 12])
    sequences = log.sequences

    def states(items: torch.Tensor, users: list[int], stops: list[int]) -> torch.Tensor:
        changed = Sequences(items, sequences.offsets, sequences.train_lengths, sequences.item_count)
        batch = windows(changed, torch.tensor(users), torch.tensor(stops), length=7, with_targets=False)
        return network.encode(batch).flatten(0, 1)[int(batch.ends[0]) - 2 : int(batch.ends[0]) + 1]

    alone = states(sequences.items, [0, 1], [3, 3])
    neighbours = sequences.items.clone()
    neighbours[4:] = 1
    assert torch.equal(alone, states(neighbours, [0, 1], [3, 3]))

    longer = states(sequences.items, [2, 0], [5, 3])
    future = sequences.items.clone()
    future[7 + 5 :] = 2
    assert torch.equal(longer, states(future, [2, 0], [5, 3]))

    with torch.no_grad():
        network.items.weight[0] = 50.0
    torch.testing.assert_close(alone, states(sequences.items, [0, 1], [3, 3]), rtol=0, atol=0)


def test_a_later_item_changes_no_earlier_state(make_log: MakeLog) -> None:
    network = backbone()
    log = make_log(lengths=[7])
    changed = log.sequences.items.clone()
    changed[5] = changed[5] % 30 + 1
    both = []
    for items in (log.sequences.items, changed):
        sequences = Sequences(items, log.sequences.offsets, log.sequences.train_lengths, 30)
        both.append(
            network.encode(windows(sequences, torch.tensor([0]), torch.tensor([7]), length=7, with_targets=False))
        )
    assert torch.equal(both[0][0, :5], both[1][0, :5])
    assert not torch.equal(both[0][0, 5:], both[1][0, 5:])


def test_the_padding_row_stays_zero_in_training(make_log: MakeLog) -> None:
    from models.config import TrainingConfig
    from models.engine.training import Training

    log = make_log(lengths=[5, 6, 9, 4, 8])
    model = build(CONFIG, 30, seed=1)
    training = Training(
        model, log, log, TrainingConfig(epochs=3), seed=1, evaluation_seed=0, device=torch.device("cpu")
    )
    training.run(on_epoch=lambda _: None)
    assert float(model.item_table()[0].detach().abs().max()) == 0.0
    assert float(model.item_table()[1:].detach().abs().min()) > 0.0
