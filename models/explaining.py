"""What a model's attention does with histories: its weights before the gate, what the gate makes of them, and after.

Read off the pass that scores, at the seam that gates use: a hook on each attention layer lets the gate, or the control
in its place, answer as always, and notes what it was asked and what it said. Training knows nothing of it.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.denoising.denoised import Denoised
from models.denoising.gates import PositionalGate
from models.denoising.noise.seam import NoiseModel
from models.engine.batches import Batch
from models.networks.attention import AttentionMask, GateContext, SelfAttention
from models.recommender import Recommender


@dataclass(frozen=True)
class Layer:
    """One attention layer of one pass.

    attention: [rows, heads, length, length] before the gate
    mask: [rows, heads or 1, length, length] the factors that it was multiplied by; None where nothing masks
    keep: [rows, heads or 1, length, length] a learned gate's keep-probabilities, which the mask comes from
    batch: the batch as attention saw it
    """

    attention: Tensor
    mask: Tensor | None
    keep: Tensor | None
    batch: Batch


@dataclass(frozen=True)
class Attended:
    """What attention did with one window. Its places are the window's events, oldest first, and behind them the item
    that the model appends, where it does; padding and other windows have none. 0 wherever a place is not visible.

    items: [places] int64
    visible: [places, places] bool: may the event of the row see that of the column?
    before: [layers, heads, places, places], in each row a distribution
    mask: [layers, heads or 1, places, places], None without a gate or a control
    keep: [layers, heads or 1, places, places], None without a learned gate
    """

    items: Tensor
    visible: Tensor
    before: Tensor
    mask: Tensor | None
    keep: Tensor | None

    @property
    def after(self) -> Tensor:
        """[layers, heads, places, places]: what the values were mixed by."""
        return self.before if self.mask is None else self.before * self.mask

    def open_shares(self) -> tuple[float, ...]:
        """By layer, the share of the visible cells whose mask is not zero; all of them without a mask."""
        seen = self.visible.sum()
        if self.mask is None or not bool(seen):
            return (1.0,) * len(self.before)
        return tuple(float((layer[:, self.visible] != 0).double().mean()) for layer in self.mask)

    def mean_keeps(self) -> tuple[float, ...] | None:
        """By layer, the mean keep-probability of the visible cells; None without a learned gate."""
        if self.keep is None or not bool(self.visible.any()):
            return None
        return tuple(float(layer[:, self.visible].double().mean()) for layer in self.keep)


@dataclass(frozen=True)
class GateLayer:
    """A positional gate's layer over the cells that training saw, each as often as it was seen.

    mean_keep: keep-probability; open_share: of the cells that are not closed when the model is used
    keep_by_distance: keep-probability of pairs of events so many steps apart, from 0; None for what was never seen
    """

    layer: int
    mean_keep: float
    open_share: float
    keep_by_distance: tuple[float | None, ...]


@torch.inference_mode()
def attended(model: Recommender, batch: Batch) -> list[Attended]:
    """What attention does with each window of a batch that is ranked with, in the windows' order: with as much of it
    as the model shows its attention. Each window has one end.

    Raises `ValueError` where the model has no attention.
    """
    with recorded(model) as layers:
        model.query(batch)
    return [_window(int(end), layers) for end in layers[0].batch.ends]


def attention_layers(model: Recommender) -> list[SelfAttention]:
    """Those by which it ranks; the ones of a noise model that is a network are no part of that."""
    judging = {part for module in model.modules() if isinstance(module, NoiseModel) for part in module.modules()}
    return [module for module in model.modules() if isinstance(module, SelfAttention) and module not in judging]


@contextlib.contextmanager
def recorded(model: Recommender) -> Iterator[list[Layer]]:
    """A list that each attention layer adds itself to whenever the model is used, while the context lasts.

    Raises `ValueError` where the model has no attention.
    """
    modules = attention_layers(model)
    if not modules:
        raise ValueError("the model has no attention")
    layers: list[Layer] = []

    def listen(_: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return arguments, options | {"gate": _noting(options["gate"], model, layers)}

    hooks = [module.register_forward_pre_hook(listen, with_kwargs=True) for module in modules]
    try:
        yield layers
    finally:
        for hook in hooks:
            hook.remove()


@torch.inference_mode()
def gate_layers(model: Recommender) -> tuple[GateLayer, ...]:
    """What a positional gate has come to, layer by layer; nothing for a model without one, or whose gate has seen no
    training.
    """
    if not isinstance(model, Denoised) or not isinstance(model.gate, PositionalGate) or model.estimator is None:
        return ()
    gate, seen = model.gate, model.gate.seen.double()
    if not bool(seen.any()):
        return ()
    places = torch.arange(model.length, device=seen.device)
    distance = (places[:, None] - places[None, :]).abs().flatten()
    by_distance = torch.zeros_like(seen[0]).index_add_(0, distance, seen.flatten())
    layers = []
    for layer in range(len(gate.phi)):
        logits = gate.table(layer)
        keep = model.estimator.keep(logits).double() * seen
        sums = torch.zeros_like(by_distance).index_add_(0, distance, keep.flatten())
        curve = [float(total / count) if count else None for total, count in zip(sums, by_distance, strict=True)]
        is_open = (model.estimator.inference(logits) != 0).double() * seen
        layers.append(GateLayer(layer, float(keep.sum() / seen.sum()), float(is_open.sum() / seen.sum()), tuple(curve)))
    return tuple(layers)


def _noting(gate: AttentionMask | None, model: Recommender, layers: list[Layer]) -> AttentionMask:
    """The gate itself, as far as the model can tell; without one, a mask of ones, which changes no bit."""

    def mask(context: GateContext) -> Tensor:
        given = None if gate is None else gate(context)
        keep = _keep(model, context)
        layers.append(
            Layer(
                attention=context.attention,
                mask=None if given is None else _whole(given, context),
                keep=None if keep is None else _whole(keep, context),
                batch=context.batch,
            )
        )
        return context.attention.new_ones(()) if given is None else given

    return mask


def _keep(model: Recommender, context: GateContext) -> Tensor | None:
    if not isinstance(model, Denoised) or model.gate is None or model.estimator is None:
        return None
    return model.estimator.keep(model.gate.logits(context))


def _whole(values: Tensor, context: GateContext) -> Tensor:
    """Factors of any shape that attention can be multiplied by → [rows, heads or 1, length, length]."""
    rows, _, length, _ = context.attention.shape
    heads = values.shape[-3] if values.dim() > 2 else 1
    return values.expand(rows, heads, length, length)


def _window(end: int, layers: list[Layer]) -> Attended:
    """The part of the window whose last event lies at `end` of the flattened grid."""
    batch = layers[0].batch
    row, column = divmod(end, batch.items.shape[1])
    own = (batch.segments[row] == batch.segments[row, column]) & (batch.segments[row] > 0)
    places = torch.nonzero(own).squeeze(1)
    visible = batch.visible[row][places][:, places]

    def part(values: Tensor) -> Tensor:
        return values[row][:, places][:, :, places] * visible

    masks = [part(layer.mask) for layer in layers if layer.mask is not None]
    keeps = [part(layer.keep) for layer in layers if layer.keep is not None]
    return Attended(
        items=batch.items[row, places],
        visible=visible,
        before=torch.stack([part(layer.attention) for layer in layers]),
        mask=torch.stack(masks) if masks else None,
        keep=torch.stack(keeps) if keeps else None,
    )
