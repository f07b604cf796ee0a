"""Caser against a loop over filters and positions, and what it makes of people and of short histories."""

from dataclasses import replace

import numpy as np
import torch

from models.catalogue import build
from models.config import ModelConfig
from models.engine.batches import windows
from models.engine.sequences import Sequences
from models.networks.backbone import NextItem
from models.networks.caser import Caser
from tests.models.conftest import MakeLog
from tests.models.references import Weights, perturbed, recorded_dropout, weights_of, window_states

LENGTH = 7
LENGTHS = [4, 3, 9, 5, 6, 1]
DIM, ORDER, HORIZONTAL, VERTICAL = 6, 3, 4, 2


def network(sequences: Sequences) -> Caser:
    config = ModelConfig(
        backbone="caser",
        dim=DIM,
        length=LENGTH,
        caser_order=ORDER,
        horizontal_filters=HORIZONTAL,
        vertical_filters=VERTICAL,
    )
    model = build(config, sequences.item_count, seed=4, user_count=sequences.user_count)
    assert isinstance(model, NextItem)
    assert model.needs == {"users"}
    model.prepare(sequences)
    backbone = perturbed(model.backbone)
    assert isinstance(backbone, Caser)
    return backbone


def scores_by_hand(weights: Weights, past: list[int], person: np.ndarray, kept: np.ndarray | float = 1.0) -> np.ndarray:
    """[items]: the paper's equations for one position; `kept` multiplies the convolutions' answers."""
    image = np.zeros((ORDER, DIM))
    for row, item in enumerate(past[-ORDER:], start=ORDER - len(past[-ORDER:])):
        image[row] = weights["items.weight"][item]
    answers = []
    for height in range(1, ORDER + 1):
        name = f"horizontal.{height - 1}."
        for filter, bias in zip(weights[name + "weight"], weights[name + "bias"], strict=True):
            slides = [(filter.T * image[top : top + height]).sum() + bias for top in range(ORDER - height + 1)]
            answers.append(max(max(slide, 0.0) for slide in slides))
    for filter, bias in zip(weights["vertical.weight"], weights["vertical.bias"], strict=True):
        answers.extend(filter @ image + bias)
    z = weights["fully_connected.weight"] @ (np.array(answers) * kept) + weights["fully_connected.bias"]
    outputs = weights["outputs.weight"][1:]
    scores: np.ndarray = outputs[:, :-1] @ np.concatenate([np.maximum(z, 0), person]) + outputs[:, -1]
    return scores


def test_equals_the_second_implementation_at_every_position(make_log: MakeLog) -> None:
    sequences = make_log(lengths=LENGTHS).sequences
    model = network(sequences)
    weights, table = weights_of(model), model.item_table()[1:].double().detach().numpy()
    batch = windows(sequences, torch.arange(6), sequences.offsets.diff(), length=LENGTH, with_targets=False)
    people = weights["users.weight"]
    trained = people[(sequences.train_lengths > 1).numpy()].mean(0)
    for user in range(6):
        items = sequences.items[sequences.offsets[user] : sequences.offsets[user + 1]].tolist()[-LENGTH:]
        ours = window_states(model, batch, user, len(items)) @ table.T
        person = people[user] if sequences.train_lengths[user] > 1 else trained
        expected = [scores_by_hand(weights, items[: place + 1], person) for place in range(len(items))]
        np.testing.assert_allclose(ours, np.stack(expected), atol=1e-5)


def test_dropout_falls_on_the_convolutions_answers_alone(make_log: MakeLog) -> None:
    sequences = make_log(lengths=LENGTHS).sequences
    model = network(sequences)
    batch = windows(sequences, torch.tensor([2]), torch.tensor([LENGTH]), length=LENGTH, with_targets=False)
    dropout, masks = recorded_dropout()
    ours = (model.encode(batch, dropout=dropout)[0] @ model.item_table()[1:].T).detach().numpy()
    (mask,) = masks
    assert (mask == 0).any()
    items, weights = sequences.items[sequences.offsets[2] :][:LENGTH].tolist(), weights_of(model)
    for place in range(LENGTH):
        expected = scores_by_hand(weights, items[: place + 1], weights["users.weight"][2], mask[place])
        np.testing.assert_allclose(ours[place], expected, atol=1e-5)


def test_what_is_further_back_than_its_order_and_other_windows_have_no_influence(make_log: MakeLog) -> None:
    sequences = make_log(lengths=LENGTHS).sequences
    model = network(sequences)

    def states(changed: Sequences) -> np.ndarray:
        batch = windows(changed, torch.tensor([0, 1]), torch.tensor([4, 3]), length=LENGTH, with_targets=False)
        assert len(batch.items) == 1
        return window_states(model, batch, 0, 4)

    alone = states(sequences)
    for place, unmoved in ((0, [3]), (3, [0, 1, 2]), (5, [0, 1, 2, 3])):
        items = sequences.items.clone()
        items[place] = items[place] % 30 + 1
        changed = states(replace(sequences, items=items))
        for event in range(4):
            assert np.array_equal(alone[event], changed[event]) == (event in unmoved)
