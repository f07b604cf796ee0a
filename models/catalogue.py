"""Every backbone, objective, gate and estimator by name: a new one is a new file and one entry here.

One that does not read every setting says so in `models.config.UNUSED`.
"""

from collections.abc import Callable, Mapping

import torch

from models.config import NO_GATE, ModelConfig
from models.denoising.denoised import Denoised
from models.denoising.estimators import Estimator, PerTokenArm
from models.denoising.gates import Gate, PositionalGate
from models.engine.losses import (
    BayesianPersonalisedRanking,
    BinaryCrossEntropy,
    FullSoftmax,
    GeneralisedBinaryCrossEntropy,
    Objective,
    SampledSoftmax,
)
from models.networks.backbone import Backbone, NextItem
from models.networks.bert4rec import BERT4Rec
from models.networks.sasrec import SASRec
from models.networks.sse_pt import SSEPT
from models.networks.tisasrec import TiSASRec
from models.recommender import Recommender

BACKBONES: Mapping[str, Callable[[ModelConfig, int, int], Backbone]] = {
    "sasrec": lambda config, item_count, user_count: SASRec(
        item_count,
        length=config.length,
        dim=config.dim,
        blocks=config.blocks,
        heads=config.heads,
        dropout=config.dropout,
        norm=config.norm,
    ),
    "bert4rec": lambda config, item_count, user_count: BERT4Rec(
        item_count,
        length=config.length,
        dim=config.dim,
        blocks=config.blocks,
        heads=config.heads,
        dropout=config.dropout,
        masked=config.masked,
        last_masked=config.last_masked,
    ),
    "tisasrec": lambda config, item_count, user_count: TiSASRec(
        item_count,
        length=config.length,
        dim=config.dim,
        blocks=config.blocks,
        heads=config.heads,
        dropout=config.dropout,
        norm=config.norm,
        max_interval=config.max_interval,
    ),
    "sse-pt": lambda config, item_count, user_count: SSEPT(
        item_count,
        user_count,
        length=config.length,
        dim=config.dim,
        user_dim=config.user_dim,
        blocks=config.blocks,
        heads=config.heads,
        dropout=config.dropout,
        norm=config.norm,
        keep_users=config.keep_users,
        keep_items=config.keep_items,
    ),
}
LOSSES: Mapping[str, Callable[[ModelConfig], Objective]] = {
    "bce": lambda config: BinaryCrossEntropy(negatives=config.negatives),
    "bpr": lambda config: BayesianPersonalisedRanking(negatives=config.negatives),
    "softmax": lambda config: FullSoftmax(),
    "sampled-softmax": lambda config: SampledSoftmax(negatives=config.negatives),
    "gbce": lambda config: GeneralisedBinaryCrossEntropy(negatives=config.negatives, t=config.gbce_t),
}
GATES: Mapping[str, Callable[[ModelConfig], Gate]] = {
    "positional": lambda config: PositionalGate(
        layers=config.blocks, length=config.length, initial_logit=config.gate_logit
    ),
}
ESTIMATORS: Mapping[str, Callable[[ModelConfig], Estimator]] = {
    "arm-per-token": lambda config: PerTokenArm(),
}


def check(config: ModelConfig) -> None:
    """Raises `ValueError`, with the known names, where the configuration names something unknown."""
    _entry(BACKBONES, "backbone", config.backbone)
    _entry(LOSSES, "loss", config.loss)
    if config.gate != NO_GATE:
        _entry(GATES, "gate", config.gate)
        _entry(ESTIMATORS, "estimator", config.estimator)


def build(config: ModelConfig, item_count: int, *, seed: int, user_count: int = 0) -> Recommender:
    """A recommender with initial weights drawn from `seed`, on the CPU. Raises `ValueError` on unknown names.

    `user_count` is for models that have an embedding of each user: those that they do not know share one.
    """
    check(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        base = NextItem(BACKBONES[config.backbone](config, item_count, user_count), LOSSES[config.loss](config))
        if config.gate == NO_GATE:
            return base
        return Denoised(base, GATES[config.gate](config), ESTIMATORS[config.estimator](config), beta=config.beta)


def _entry(table: Mapping[str, object], what: str, name: str) -> None:
    if name not in table:
        raise ValueError(f"there is no {what} {name!r}: choose from {', '.join(sorted(table))}")
