"""Models that nothing was trained on, to be asked why they offer what they offer."""

from dataclasses import replace
from typing import Any

import torch

from models.catalogue import build
from models.config import ModelConfig
from models.denoising.contextual import ContextualGate
from models.denoising.denoised import Denoised
from models.denoising.gates import PositionalGate
from models.serving import Server
from tasks.explain import Held

ITEMS = [f"item <{number}>" for number in range(1, 41)]


def held(**settings: Any) -> Held:
    """A model of forty items that looks back at 35 events; a gate is half closed."""
    config = replace(ModelConfig(dim=8, length=35, gate="positional", max_interval=9), **settings)
    model = build(config, len(ITEMS), seed=3).eval()
    if isinstance(model, Denoised) and isinstance(model.gate, PositionalGate):
        with torch.no_grad():
            model.gate.phi.normal_(generator=torch.Generator().manual_seed(1))
    if isinstance(model, Denoised) and isinstance(model.gate, ContextualGate):
        with torch.no_grad():
            model.gate.constant.zero_()
            model.gate.reads.weight.normal_(generator=torch.Generator().manual_seed(1))
    server = Server()
    server.hold(model, ids=ITEMS, popularity=list(range(len(ITEMS))))
    return Held(server, "a model", config.effective(), "0123456789abcdef")
