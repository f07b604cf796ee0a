"""How suspicious the interactions that a recommender was trained on are, by what it has learned and by simple rules.

Judged are the events that its training saw: of each user with two or more, the last `trained_length` of the training
part, the same for every model whose training has such windows. A detector gives each of them a number, the higher the
more suspicious, and NaN where it has nothing to go by. A new detector is one function and one entry in `DETECTORS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.engine.batches import Batch, windows
from models.engine.sequences import Sequences, training_part
from models.errors import Diverged
from models.recommender import Recommender

MASKED_EVERY = 5
"""A model that sees both sides is shown each window so many times, each time with another fifth of its events masked:
about the share that is masked in its training."""

Judge = Callable[[Tensor], Tensor]
"""From users [block] (int64, on the CPU) to a number for each of their last `length` training events, user by user,
oldest first: those that the model looks at, of which those that its training saw are judged."""

Detector = Callable[[Recommender, Sequences], Judge | None]
"""Makes the judge of a model and a log; None where the model has nothing of the kind."""


@dataclass(frozen=True)
class Suspicions:
    """users, positions: [judged] int64, sorted by user and position; scores: by detector, [judged] float32."""

    users: NDArray[np.int64]
    positions: NDArray[np.int64]
    scores: dict[str, NDArray[np.float32]]


@torch.inference_mode()
def suspicions(model: Recommender, sequences: Sequences, *, batch_size: int = 128) -> Suspicions:
    """What every detector that suits the model says of the log's training part, `batch_size` users at a time.

    Raises `Diverged` where a number is infinite, or is none although there is something to go by.
    """
    was_training = model.training
    model.eval()
    judges = {name: judge for name, make in DETECTORS.items() if (judge := make(model, sequences)) is not None}
    users = torch.nonzero(sequences.train_lengths.cpu() > 1).squeeze(1)
    parts: dict[str, list[Tensor]] = {name: [torch.zeros(0)] for name in judges}
    for block in users.split(batch_size):
        for name, judge in judges.items():
            parts[name].append(judge(block).float().cpu())
    model.train(was_training)
    owners, positions = _judged(sequences, users, model.length)
    seen = positions >= sequences.train_lengths.cpu()[owners] - model.trained_length
    owners, positions = owners[seen], positions[seen]
    scores = {name: torch.cat(found)[seen].numpy() for name, found in parts.items()}
    for name, values in scores.items():
        if not np.isfinite(values[positions.numpy() > 0]).all():
            raise Diverged(f"the model's suspicions by {name} are not finite: the training has diverged")
    return Suspicions(owners.numpy(), positions.numpy(), scores)


def own_score(model: Recommender, sequences: Sequences) -> Judge:
    """−log p(item) over the catalogue, given the user's past: what a training by full softmax would have as its loss.

    A model that sees both sides has the event masked, and is given what comes before and after it. Where only the past
    is seen, a user's first event is NaN, and the oldest of a window is judged by what came before it alone. Of a model
    that leaves events out of what it reads, all of the window decides on which those are, the event in question too:
    there it is the model's suspicion, and no probability that adds up over the catalogue.
    """
    if (mask := model.mask) is not None:
        return lambda users: _surprise_between(model, sequences, users, mask=mask)
    return lambda users: _surprise_after(model, sequences, users)


def popularity(model: Recommender, sequences: Sequences) -> Judge:
    """−log of how often the item occurs in the training parts of all users: the rarer, the more suspicious."""
    counts = torch.bincount(sequences.items[training_part(sequences)].long(), minlength=sequences.item_count + 1)
    rarity = -counts.clamp(min=1).double().log()

    def judge(users: Tensor) -> Tensor:
        owners, positions = (part.to(sequences.device) for part in _judged(sequences, users, model.length))
        return rarity[sequences.items[sequences.offsets[owners] + positions].long()]

    return judge


def gate(model: Recommender, sequences: Sequences) -> Judge | None:
    """1 − the mean probability with which a gate keeps the event as a key, over layers, heads and the queries that see
    it. A gate that knows no more of an event than its position cannot tell one item from another.
    """
    return _explained(model, sequences, "keep")


def noise_model(model: Recommender, sequences: Sequences) -> Judge | None:
    """The probability of being noise by a noise model beside the network, from both sides of the event."""
    return _explained(model, sequences, "genuine")


DETECTORS: Mapping[str, Detector] = {
    "own_score": own_score,
    "popularity": popularity,
    "gate": gate,
    "noise_model": noise_model,
}
"""By the name of its column and of its metrics."""


def _explained(model: Recommender, sequences: Sequences, name: str) -> Judge | None:
    """1 − what the model's own explanation has of that name; None where it has nothing."""

    def judge(users: Tensor) -> Tensor:
        batch = _windows(model, sequences, users)
        return 1.0 - batch.events(model.explain(batch)[name])

    anyone = torch.nonzero(sequences.train_lengths.cpu() > 1).squeeze(1)[:1]
    has_it = len(anyone) > 0 and name in model.explain(_windows(model, sequences, anyone))
    return judge if has_it else None


def _judged(sequences: Sequences, users: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """The users and the positions [events] of their last `length` training events."""
    stops = sequences.train_lengths.cpu()[users]
    sizes = stops.clamp(max=length)
    owner = torch.repeat_interleave(torch.arange(len(users)), sizes)
    within = torch.arange(len(owner)) - (sizes.cumsum(0) - sizes)[owner]
    return users[owner], (stops - sizes)[owner] + within


def _windows(model: Recommender, sequences: Sequences, users: Tensor) -> Batch:
    """The last `length` training events, packed; what reads them in the order of its `cells` meets them in the order of
    `_judged`.
    """
    stops = sequences.train_lengths.cpu()[users]
    batch = windows(sequences, users, stops, length=model.length, with_targets=False)
    return replace(batch, bidirectional=model.mask is not None)


def _surprise_after(model: Recommender, sequences: Sequences, users: Tensor) -> Tensor:
    """Each event as a training predicts it: by the `length` events before the last one, in one pass."""
    stops = sequences.train_lengths.cpu()[users]
    batch = windows(sequences, users, stops - 1, length=model.length, with_targets=True)
    assert batch.targets is not None
    found = model.surprises(replace(batch, ends=batch.cells), batch.events(batch.targets))
    judged = torch.full((int(stops.clamp(max=model.length).sum()),), torch.nan, device=found.device)
    _, positions = _judged(sequences, users, model.length)
    judged[(positions > 0).to(found.device)] = found
    return judged


def _surprise_between(model: Recommender, sequences: Sequences, users: Tensor, *, mask: int) -> Tensor:
    """Each event from both sides, in as many passes as the events of a window that lie between two masked ones."""
    batch = _windows(model, sequences, users)
    events = batch.events(batch.items)
    places = batch.events(batch.positions)
    judged = torch.full((len(events),), torch.nan, device=events.device)
    for turn in range(MASKED_EVERY):
        chosen = torch.nonzero(places % MASKED_EVERY == turn).squeeze(1)
        cells = batch.cells[chosen]
        shown = batch.items.flatten().index_fill(0, cells, mask).view_as(batch.items)
        judged[chosen] = model.surprises(replace(batch, items=shown, ends=cells), events[chosen])
    return judged
