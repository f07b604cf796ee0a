"""FPMC against its factors, one by one."""

from dataclasses import replace

import numpy as np
import torch

from models.catalogue import build
from models.config import ModelConfig
from models.engine.batches import windows
from models.engine.sequences import Sequences
from models.networks.backbone import NextItem
from models.networks.fpmc import FPMC
from tests.models.conftest import MakeLog
from tests.models.references import perturbed, weights_of, window_states

LENGTH = 5
LENGTHS = [4, 3, 9, 5, 6, 1]
DIM = 6


def network(sequences: Sequences) -> FPMC:
    config = ModelConfig(backbone="fpmc", loss="bpr", dim=DIM, length=LENGTH)
    model = build(config, sequences.item_count, seed=4, user_count=sequences.user_count)
    assert isinstance(model, NextItem)
    assert model.needs == {"users"}
    model.prepare(sequences)
    backbone = perturbed(model.backbone)
    assert isinstance(backbone, FPMC)
    return backbone


def test_a_score_is_what_the_user_and_the_last_item_have_in_common_with_an_item(make_log: MakeLog) -> None:
    sequences = make_log(lengths=LENGTHS).sequences
    model = network(sequences)
    weights = weights_of(model)
    batch = windows(sequences, torch.arange(6), sequences.offsets.diff(), length=LENGTH, with_targets=False)
    trained = weights["users.weight"][(sequences.train_lengths > 1).numpy()].mean(0)
    for user in range(6):
        items = sequences.items[sequences.offsets[user] : sequences.offsets[user + 1]].tolist()[-LENGTH:]
        states = window_states(model, batch, user, len(items))
        person = weights["users.weight"][user] if sequences.train_lengths[user] > 1 else trained
        for last, state in zip(items, states, strict=True):
            for item in range(1, 31):
                to_user, to_last = np.split(weights["outputs.weight"][item], 2)
                expected = person @ to_user + weights["items.weight"][last] @ to_last
                np.testing.assert_allclose(state @ weights["outputs.weight"][item], expected, atol=1e-5)


def test_nothing_but_the_user_and_the_last_item_counts(make_log: MakeLog) -> None:
    sequences = make_log(lengths=LENGTHS).sequences
    model = network(sequences)

    def query(changed: Sequences) -> torch.Tensor:
        batch = windows(changed, torch.tensor([0, 1]), torch.tensor([4, 3]), length=LENGTH, with_targets=False)
        return model.encode(batch).flatten(0, 1)[batch.ends[0]]

    alone = query(sequences)
    for place in (0, 1, 2, 4, 5, 6):
        items = sequences.items.clone()
        items[place] = items[place] % 30 + 1
        assert torch.equal(alone, query(replace(sequences, items=items)))
    items = sequences.items.clone()
    items[3] = items[3] % 30 + 1
    assert not torch.equal(alone, query(replace(sequences, items=items)))
