"""What the padded side of the benchmark trains on."""

import torch

from benchmarks.ranking import random_log
from benchmarks.training import padded
from models.catalogue import build
from models.config import ModelConfig
from models.engine.batches import windows
from models.networks.backbone import NextItem


def test_padding_gives_each_history_a_row_and_changes_no_loss() -> None:
    log = random_log(20, 5, events=9)
    stops = torch.tensor([3, 8, 1, 4, 2])
    packed = windows(log.sequences, torch.arange(5), stops, length=8, with_targets=True)
    alone = padded(packed)
    model = build(ModelConfig(dim=8, length=8), 20, seed=1)
    assert isinstance(model, NextItem)
    assert len(packed.items) < len(alone.items) == 5
    assert sorted((alone.items > 0).sum(1).tolist()) == [1, 2, 3, 4, 8]
    assert bool((alone.items[:, -1] > 0).all())
    negatives = torch.randint(1, 21, (18, 1))
    one, other = (model.position_losses(batch, negatives, dropout=None) for batch in (packed, alone))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
