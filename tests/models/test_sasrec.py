"""SASRec against a slow second implementation, and what must have no influence."""

import math
from typing import Any

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

CONFIG = ModelConfig(dim=12, blocks=2, heads=3, length=7)


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


def by_hand(network: SASRec, items: list[int], norm: str) -> np.ndarray:
    """One user's hidden states by loops over positions, in float64, without padding."""
    weights: dict[str, Any] = {name: value.double().numpy() for name, value in network.state_dict().items()}
    dim = weights["items.weight"].shape[1]
    first = network.length - len(items)

    def normed(rows: np.ndarray, name: str) -> np.ndarray:
        centred = rows - rows.mean(1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-8)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def linear(rows: np.ndarray, name: str) -> np.ndarray:
        return rows @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def attention(queries: np.ndarray, keys: np.ndarray, block: str) -> np.ndarray:
        q, k, v = (
            linear(rows, f"{block}.attention.{name}")
            for rows, name in ((queries, "query"), (keys, "key"), (keys, "value"))
        )
        out = np.zeros_like(q)
        heads = 3
        size = dim // heads
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            for t in range(len(items)):
                logits = [q[t, part] @ k[s, part] / math.sqrt(size) for s in range(t + 1)]
                exponentials = np.exp(np.array(logits) - max(logits))
                out[t, part] = (exponentials / exponentials.sum()) @ v[: t + 1, part]
        return out

    def feed_forward(rows: np.ndarray, block: str) -> np.ndarray:
        return linear(np.maximum(linear(rows, f"{block}.inner"), 0), f"{block}.outer")

    x = weights["items.weight"][items] * math.sqrt(dim) + weights["positions.weight"][first:]
    for number in range(2):
        block = f"blocks.{number}"
        if norm == "authors":
            queries = normed(x, f"{block}.attention_norm")
            y = normed(queries + attention(queries, x, block), f"{block}.forward_norm")
            x = y + feed_forward(y, block)
        elif norm == "pre":
            inner = normed(x, f"{block}.attention_norm")
            x = x + attention(inner, inner, block)
            x = x + feed_forward(normed(x, f"{block}.forward_norm"), block)
        else:
            x = normed(x + attention(x, x, block), f"{block}.attention_norm")
            x = normed(x + feed_forward(x, block), f"{block}.forward_norm")
    return normed(x, "last_norm")


@pytest.mark.parametrize("norm", ["authors", "pre", "post"])
def test_equals_the_second_implementation(make_log: MakeLog, norm: str) -> None:
    network = backbone(norm)
    log = make_log(lengths=[2, 4, 9, 3, 5])
    sequences = log.sequences
    users = torch.arange(5)
    sizes = sequences.offsets.diff()
    batch = windows(sequences, users, sizes, length=7, with_targets=False)
    hidden = network.encode(batch).detach().flatten(0, 1)
    for user in range(5):
        items = sequences.items[sequences.offsets[user] : sequences.offsets[user + 1]].tolist()[-7:]
        end = int(batch.ends[user])
        ours = hidden[end - len(items) + 1 : end + 1].numpy()
        np.testing.assert_allclose(ours, by_hand(network, items, norm), atol=1e-5)


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
    training.run(checkpoint=None, on_epoch=lambda _: None)
    assert float(model.item_table()[0].detach().abs().max()) == 0.0
    assert float(model.item_table()[1:].detach().abs().min()) > 0.0
