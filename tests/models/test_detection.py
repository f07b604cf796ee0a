"""What detectors say of the interactions that a model was trained on, beside slow second computations."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.catalogue import build
from models.config import ModelConfig
from models.engine.batches import Batch, windows
from models.engine.detection import MASKED_EVERY, suspicions
from models.engine.sequences import Sequences
from models.errors import Diverged
from models.recommender import Recommender
from tests.models.conftest import MakeLog

ITEMS, LENGTH = 9, 6
LENGTHS = [1, 3, 4, 8, 9, 5, 30]


@pytest.fixture
def sequences(make_log: MakeLog) -> Sequences:
    log = make_log(lengths=LENGTHS, item_count=ITEMS).sequences
    return replace(log, times=torch.arange(len(log.items)) * 1_000_000)


def model_of(sequences: Sequences, **settings: Any) -> Recommender:
    model = build(ModelConfig(dim=8, length=LENGTH, **settings), ITEMS, seed=1, user_count=len(LENGTHS))
    model.prepare(sequences)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.3, generator=torch.Generator().manual_seed(parameter.numel()))
    return model.eval()


def changed(sequences: Sequences, user: int, position: int, item: int) -> Sequences:
    items = sequences.items.clone()
    items[sequences.offsets[user] + position] = item
    return replace(sequences, items=items)


def trained_on(sequences: Sequences) -> list[tuple[int, int]]:
    """User and position of the last events of every training part of two or more."""
    return [
        (user, position)
        for user, trained in enumerate(sequences.train_lengths.tolist())
        for position in range(max(0, trained - LENGTH), trained)
        if trained > 1
    ]


def by_event(found: Any, detector: str) -> dict[tuple[int, int], float]:
    places = zip(found.users.tolist(), found.positions.tolist(), strict=True)
    return dict(zip(places, found.scores[detector].tolist(), strict=True))


def test_judged_is_what_the_training_saw(sequences: Sequences) -> None:
    found = suspicions(model_of(sequences), sequences, batch_size=2)
    assert list(by_event(found, "own_score")) == trained_on(sequences)
    blind = {place for place, score in by_event(found, "own_score").items() if np.isnan(score)}
    assert blind == {place for place in trained_on(sequences) if place[1] == 0}  # nothing comes before


def test_a_model_that_ranks_with_more_judges_no_more_than_its_training_saw(sequences: Sequences) -> None:
    """A noise model reads older events in the place of those that it leaves out."""
    plain = suspicions(model_of(sequences), sequences)
    model = model_of(sequences, noise_model="popularity", drop_below=0.01, spare=3)
    model.prepare(sequences)
    assert model.length > model_of(sequences).length
    found = suspicions(model, sequences)
    assert by_event(found, "popularity") == by_event(plain, "popularity")
    assert list(by_event(found, "noise_model")) == trained_on(sequences)


@pytest.mark.parametrize("backbone", ["sasrec", "tisasrec", "sse-pt", "dreamrec"])
def test_the_own_score_is_the_surprise_at_each_event_after_those_before_it(sequences: Sequences, backbone: str) -> None:
    model = model_of(sequences, backbone=backbone, generated=0)
    scores = by_event(suspicions(model, sequences, batch_size=3), "own_score")
    for user, trained in enumerate(sequences.train_lengths.tolist()):
        if trained < 2:
            continue
        # One user at a time, without packing, the whole training window.
        batch = windows(sequences, torch.tensor([user]), torch.tensor([trained - 1]), length=LENGTH, with_targets=True)
        hidden = model.query(replace(batch, ends=batch.cells))
        assert batch.targets is not None
        for row, item in zip(hidden, batch.events(batch.targets).tolist(), strict=True):
            position = trained - len(hidden) + int((hidden == row).all(1).nonzero()[0])
            expected = -torch.log_softmax(model.item_table()[1:] @ row, dim=0)[item - 1]
            assert scores[user, position] == pytest.approx(float(expected.detach()), abs=1e-5)


@pytest.mark.parametrize(
    ("backbone", "position"),
    [("sasrec", 27), ("dreamrec", 27), ("bert4rec", 25), ("bert4rec", 22), ("diffrec", 25), ("diffrec", 27)],
)
def test_the_chances_of_all_items_at_an_event_add_up_to_one(sequences: Sequences, backbone: str, position: int) -> None:
    """So the model that judges an event does not see it; that holds for what comes before it alone or on both sides."""
    model = model_of(sequences, backbone=backbone)
    user = len(LENGTHS) - 1
    alike = [by_event(suspicions(model, changed(sequences, user, position, item)), "own_score")
             for item in range(1, ITEMS + 1)]  # fmt: skip
    assert sum(np.exp(-scores[user, position]) for scores in alike) == pytest.approx(1.0, abs=1e-5)
    others = [{place: score for place, score in scores.items() if place[0] != user} for scores in alike]
    assert all(np.array_equal(list(others[0].values()), list(each.values()), equal_nan=True) for each in others)


def test_what_sees_both_sides_judges_first_events_too(sequences: Sequences) -> None:
    model = model_of(sequences, backbone="bert4rec")
    scores = by_event(suspicions(model, sequences), "own_score")
    assert not any(map(np.isnan, scores.values()))
    user, trained = 3, int(sequences.train_lengths[3])
    assert trained <= LENGTH
    assert model.appended is not None
    batch = windows(sequences, torch.tensor([user]), torch.tensor([trained]), length=LENGTH, with_targets=False)
    for position in range(trained):
        column = int(batch.cells[position])
        turn = int(batch.positions.flatten()[column]) % MASKED_EVERY
        hidden_too = [int(cell) for cell in batch.cells if int(batch.positions.flatten()[cell]) % MASKED_EVERY == turn]
        items = batch.items.flatten().index_fill(0, torch.tensor(hidden_too), model.appended).view_as(batch.items)
        (query,) = model.query(replace(batch, items=items, ends=torch.tensor([column])))
        own = int(batch.items.flatten()[column])
        expected = -torch.log_softmax(model.item_table()[1:] @ query, dim=0)[own - 1]
        assert scores[user, position] == pytest.approx(float(expected.detach()), abs=1e-5)


def test_popularity_counts_training_parts_only(sequences: Sequences) -> None:
    counts: Counter[int] = Counter()
    for user, trained in enumerate(sequences.train_lengths.tolist()):
        start = int(sequences.offsets[user])
        counts.update(sequences.items[start : start + trained].tolist())
    for (user, position), score in by_event(suspicions(model_of(sequences), sequences), "popularity").items():
        item = int(sequences.items[sequences.offsets[user] + position])
        assert score == pytest.approx(-np.log(counts[item]), abs=1e-6)


def test_a_gate_is_asked_how_much_it_keeps_of_each_event(sequences: Sequences) -> None:
    assert "gate" not in suspicions(model_of(sequences), sequences).scores
    assert "gate" not in suspicions(model_of(sequences, gate="fixed-random"), sequences).scores

    class Wary(Recommender):
        """Keeps an item by its number."""

        length = LENGTH

        def query(self, batch: Batch) -> Tensor:
            return torch.zeros(len(batch.ends), 2)

        def item_table(self) -> Tensor:
            return torch.zeros(ITEMS + 1, 2)

        def explain(self, batch: Batch) -> dict[str, Tensor]:
            return {"keep": batch.items / 100.0}

    for (user, position), score in by_event(suspicions(Wary(), sequences, batch_size=2), "gate").items():
        assert score == pytest.approx(1.0 - int(sequences.items[sequences.offsets[user] + position]) / 100.0)


def test_a_positional_gate_cannot_tell_items_apart(sequences: Sequences) -> None:
    model = model_of(sequences, gate="positional")
    others = replace(sequences, items=(sequences.items % ITEMS + 1).int())
    first, second = (suspicions(model, log).scores["gate"] for log in (sequences, others))
    assert len(np.unique(first)) > 1
    assert np.array_equal(first, second)


def test_a_diverged_model_is_refused_and_an_empty_log_is_not(sequences: Sequences, make_log: MakeLog) -> None:
    model = model_of(sequences)
    assert len(suspicions(model, make_log(lengths=[3, 3], item_count=ITEMS).sequences).users) == 0
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    with pytest.raises(Diverged, match="own_score"):
        suspicions(model, sequences)
