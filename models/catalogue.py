"""Every backbone, objective, gate and estimator by name: a new one is a new file and one entry here.

One that does not read every setting says so in `models.config.UNUSED`.
"""

from collections.abc import Callable, Mapping

import torch

from models.config import NO_GATE, ONE_PASS, ModelConfig
from models.denoising.controls import Control, Controlled, FixedRandom, HeadDrop, LayerDrop, TopK
from models.denoising.denoised import Denoised
from models.denoising.estimators import (
    Ar,
    Arm,
    BatchCredit,
    Estimator,
    HardConcrete,
    Reinforce,
    StraightThrough,
    TokenCredit,
)
from models.denoising.gates import Gate, PositionalGate
from models.denoising.jacobian import JacobianPenalty
from models.engine.losses import BinaryCrossEntropy, FullSoftmax, Objective
from models.networks.backbone import Backbone, NextItem
from models.networks.sasrec import SASRec
from models.recommender import Recommender

BACKBONES: Mapping[str, Callable[[ModelConfig, int], Backbone]] = {
    "sasrec": lambda config, item_count: SASRec(
        item_count,
        length=config.length,
        dim=config.dim,
        blocks=config.blocks,
        heads=config.heads,
        dropout=config.dropout,
        norm=config.norm,
    ),
}
LOSSES: Mapping[str, Callable[[ModelConfig], Objective]] = {
    "bce": lambda config: BinaryCrossEntropy(negatives=config.negatives),
    "softmax": lambda config: FullSoftmax(),
}
GATES: Mapping[str, Callable[[ModelConfig], Gate]] = {
    "positional": lambda config: PositionalGate(
        layers=config.blocks, length=config.length, initial_logit=config.gate_logit
    ),
}
CONTROLS: Mapping[str, Callable[[ModelConfig], Control]] = {
    "fixed-random": lambda config: FixedRandom(layers=config.blocks, length=config.length, keep=config.gate_keep),
    "head-drop": lambda config: HeadDrop(keep=config.gate_keep),
    "layer-drop": lambda config: LayerDrop(keep=config.gate_keep),
    "top-k": lambda config: TopK(count=config.attention_top),
}
"""Masks that learn nothing, in a gate's place."""
ESTIMATORS: Mapping[str, Callable[[ModelConfig], Estimator]] = {
    "arm": lambda config: Arm(BatchCredit()),
    "arm-per-token": lambda config: Arm(TokenCredit()),
    "ar": lambda config: Ar(BatchCredit()),
    "reinforce": lambda config: Reinforce(BatchCredit()),
    "straight-through": lambda config: StraightThrough(),
    "hard-concrete": lambda config: HardConcrete(),
}


def check(config: ModelConfig) -> None:
    """Raises `ValueError`, with the known names, where the configuration names something unknown."""
    _entry(BACKBONES, "backbone", config.backbone)
    _entry(LOSSES, "loss", config.loss)
    if config.gate != NO_GATE and config.gate not in CONTROLS:
        _entry({**GATES, **CONTROLS}, "gate", config.gate)
        _entry(ESTIMATORS, "estimator", config.estimator)


def build(config: ModelConfig, item_count: int, *, seed: int) -> Recommender:
    """A recommender with initial weights drawn from `seed`, on the CPU. Raises `ValueError` on unknown names."""
    check(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        base = NextItem(BACKBONES[config.backbone](config, item_count), LOSSES[config.loss](config))
        if config.gate in CONTROLS:
            return Controlled(base, CONTROLS[config.gate](config))
        jacobian = JacobianPenalty(config.gamma, every=config.jacobian_every) if config.gamma else None
        if config.gate == NO_GATE:
            return base if jacobian is None else Denoised(base, None, None, jacobian)
        return Denoised(
            base,
            GATES[config.gate](config),
            ESTIMATORS[config.estimator](config),
            jacobian,
            beta=config.beta,
            beta_on=config.beta_on,
            gate_rate=config.gate_rate,
            passes="apart" if config.estimator in ONE_PASS else config.passes,
        )


def _entry(table: Mapping[str, object], what: str, name: str) -> None:
    if name not in table:
        raise ValueError(f"there is no {what} {name!r}: choose from {', '.join(sorted(table))}")
