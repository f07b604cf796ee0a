"""What a training's gate has come to, layer by layer: for its run, and for the study that it belongs to."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from models.config import NO_GATE
from models.description import described
from tasks.reporting.grid import Frame
from tasks.train import Trained


@dataclass(frozen=True)
class GateLayer:
    """A positional gate's layer, from 1, over the cells that training saw, each as often as it was seen.

    mean_keep: keep-probability; open_share: of the cells that are not closed when the model is used;
    keep_by_distance: keep-probability of pairs of events so many steps apart, from 0, None for what was never seen
    """

    layer: int
    mean_keep: float
    open_share: float
    keep_by_distance: tuple[float | None, ...]


def gate_layers(trained: Trained) -> tuple[GateLayer, ...]:
    """The layers of a training's gate; none for a model without one, with one that knows no positions, or whose weights
    are not kept.
    """
    if not all(path.exists() for path in trained.files):
        return ()
    if described(trained.folder).config.gate == NO_GATE:
        return ()
    from models import explaining
    from models.storage import load_model

    layers = explaining.gate_layers(load_model(trained.folder))
    return tuple(GateLayer(**{**asdict(layer), "layer": layer.layer + 1}) for layer in layers)


def gate_metrics(layers: Sequence[GateLayer]) -> dict[str, float]:
    """Figures of a run: each layer's mean keep-probability and share of open cells, visible ones alone."""
    return {
        f"gate.layer_{layer.layer}.{name}": value
        for layer in layers
        for name, value in (("mean_keep", layer.mean_keep), ("open_share", layer.open_share))
    }


def gate_csv(layers: Sequence[GateLayer]) -> str:
    """The keep-probability by layer and distance between the two events; empty where training saw no such pair."""
    rows = [(layer.layer, distance, keep) for layer in layers for distance, keep in enumerate(layer.keep_by_distance)]
    return Frame(("layer", "distance", "keep"), tuple(rows)).csv()
