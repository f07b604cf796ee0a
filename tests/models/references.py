"""Parts of networks as loops over positions in float64, without padding or batches."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.engine.batches import Batch
from models.engine.randomness import Dropout, keep_mask
from models.networks.attention import AttentionMask
from models.networks.backbone import Backbone

Weights = dict[str, np.ndarray]
Kept = tuple[np.ndarray | float, np.ndarray | float]
"""What a feed-forward layer's inner and outer values are multiplied by, as by dropout."""


def weights_of(network: nn.Module) -> Weights:
    return {name: value.double().numpy() for name, value in network.state_dict().items()}


def recorded_dropout(probability: float = 0.2) -> tuple[Dropout, list[np.ndarray]]:
    """Dropout at that probability alone, and its masks in their order as they are drawn: of a batch's, with more than
    two dimensions, the first row's.
    """
    masks: list[np.ndarray] = []
    generator = torch.Generator().manual_seed(5)

    def draw(values: Tensor, asked: float) -> Tensor:
        assert asked == probability
        mask = keep_mask(values, asked, generator=generator)
        masks.append((mask[0] if mask.dim() > 2 else mask).double().numpy())
        return mask

    return Dropout(draw), masks


def perturbed(network: Backbone, *, seed: int = 0) -> Backbone:
    """The network with every weight moved, the padding item's zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        network.get_parameter("items.weight")[0].zero_()
    return network


def window_states(
    network: Backbone, batch: Batch, window: int, size: int, *, gate: AttentionMask | None = None
) -> np.ndarray:
    """[size, dim]: the hidden states of one window's events."""
    end = int(batch.ends[window])
    hidden = network.encode(batch, gate=gate).detach().flatten(0, 1)
    states: np.ndarray = hidden[end - size + 1 : end + 1].double().numpy()
    return states


def factors(*, layers: int, heads: int, length: int) -> np.ndarray:
    """[layers, heads, length, length]: what attention is multiplied by for each pair of positions; a third are 0."""
    drawn = np.random.default_rng(0).uniform(-0.5, 1, (layers, heads, length, length))
    return drawn.clip(min=0).astype(np.float32)


def of_window(cells: np.ndarray | None, layer: int, size: int) -> np.ndarray | None:
    """[heads, size, size]: the `factors` of a layer among the positions that a window of this size has."""
    return None if cells is None else cells[layer, :, -size:, -size:]


def gate_of(cells: np.ndarray | None) -> AttentionMask | None:
    """The gate that multiplies by the `factors`, if there are any."""
    if cells is None:
        return None
    grid = torch.from_numpy(cells).flatten(2)
    return lambda context: grid[context.layer][:, context.batch.position_pairs].transpose(0, 1)


def normed(rows: np.ndarray, weights: Weights, name: str, epsilon: float) -> np.ndarray:
    centred = rows - rows.mean(1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(1, keepdims=True) + epsilon)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def linear(rows: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    return rows @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def attention(
    queries: np.ndarray,
    keys: np.ndarray,
    weights: Weights,
    name: str,
    *,
    heads: int,
    causal: bool,
    mask: np.ndarray | None = None,
    more_keys: Any = None,
    more_values: Any = None,
) -> np.ndarray:
    """The share of key s in what t attends to, a softmax over all that t sees, is multiplied by `mask[head, t, s]`, and
    what is thereby lost stays lost (Rec-Denoiser, eq. 5). `more_keys(t, s)` and `more_values(t, s)` give vectors [dim]
    that are added to key and value of the pair.
    """
    q, k, v = (
        linear(rows, weights, f"{name}.{part}") for rows, part in ((queries, "query"), (keys, "key"), (keys, "value"))
    )
    out = np.zeros_like(q)
    size = q.shape[1] // heads
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        for t in range(len(q)):
            seen = range(t + 1) if causal else range(len(q))
            pair_keys = [k[s] + (more_keys(t, s) if more_keys else 0) for s in seen]
            pair_values = [v[s] + (more_values(t, s) if more_values else 0) for s in seen]
            logits = np.array([q[t, part] @ key[part] / math.sqrt(size) for key in pair_keys])
            shares = np.exp(logits - logits.max())
            shares /= shares.sum()
            if mask is not None:
                shares = shares * mask[head, t, list(seen)]
            out[t, part] = sum(share * value[part] for share, value in zip(shares, pair_values, strict=True))
    return out


def sasrec_block(
    x: np.ndarray, weights: Weights, block: str, *, kept: Kept = (1.0, 1.0), **attending: Any
) -> np.ndarray:
    """The authors' wiring."""
    queries = normed(x, weights, f"{block}.attention_norm", 1e-8)
    mixed = attention(queries, x, weights, f"{block}.attention", causal=True, **attending)
    y = normed(queries + mixed, weights, f"{block}.forward_norm", 1e-8)
    return y + feed_forward(y, weights, block, kept=kept)


def pre_norm_block(
    x: np.ndarray, weights: Weights, block: str, *, kept: Kept = (1.0, 1.0), **attending: Any
) -> np.ndarray:
    inner = normed(x, weights, f"{block}.attention_norm", 1e-8)
    x = x + attention(inner, inner, weights, f"{block}.attention", causal=True, **attending)
    return x + feed_forward(normed(x, weights, f"{block}.forward_norm", 1e-8), weights, block, kept=kept)


def post_norm_block(
    x: np.ndarray, weights: Weights, block: str, *, kept: Kept = (1.0, 1.0), **attending: Any
) -> np.ndarray:
    mixed = attention(x, x, weights, f"{block}.attention", causal=True, **attending)
    y = normed(x + mixed, weights, f"{block}.attention_norm", 1e-8)
    return normed(y + feed_forward(y, weights, block, kept=kept), weights, f"{block}.forward_norm", 1e-8)


def feed_forward(x: np.ndarray, weights: Weights, block: str, *, kept: Kept = (1.0, 1.0)) -> np.ndarray:
    inner = np.maximum(linear(x, weights, f"{block}.inner"), 0) * kept[0]
    return linear(inner, weights, f"{block}.outer") * kept[1]


BLOCKS = {"authors": sasrec_block, "pre": pre_norm_block, "post": post_norm_block}
"""By where the layer norms are."""
