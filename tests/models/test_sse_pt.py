"""SSE-PT against a slow second implementation, whom it does not know, and what it replaces in training."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.catalogue import build
from models.config import ModelConfig
from models.engine.batches import training_batches, windows
from models.engine.sequences import Sequences
from models.networks.backbone import NextItem
from models.networks.sse_pt import SSEPT
from tests.models.builders import draws_for
from tests.models.conftest import MakeLog
from tests.models.references import BLOCKS, factors, gate_of, normed, of_window, perturbed, recorded_dropout, weights_of

LENGTH = 7
LENGTHS = [4, 3, 9, 5, 6]


def network(sequences: Sequences, **settings: object) -> SSEPT:
    config = ModelConfig.from_dict(
        {"backbone": "sse-pt", "dim": 8, "user_dim": 4, "blocks": 2, "heads": 2, "length": LENGTH} | settings
    )
    model = build(config, 30, seed=4, user_count=sequences.user_count)
    assert isinstance(model, NextItem)
    assert model.needs == {"users"}
    model.prepare(sequences)
    backbone = perturbed(model.backbone)
    assert isinstance(backbone, SSEPT)
    return backbone


def scores_by_hand(
    model: SSEPT,
    items: list[int],
    person: np.ndarray,
    cells: np.ndarray | None = None,
    *,
    norm: str = "authors",
    kept: Sequence[np.ndarray | float] = (1.0,) * 5,
) -> np.ndarray:
    """[events, items]: inner products with [item; user]. `kept` multiplies the embeddings, and by layer what a
    feed-forward layer has within and what it adds.
    """
    weights = weights_of(model)
    x = np.concatenate([weights["items.weight"][items] * np.sqrt(8), np.tile(person * 2, (len(items), 1))], axis=1)
    x = (x + weights["positions.weight"][LENGTH - len(items) :]) * kept[0]
    for number in range(2):
        mask, on_forward = of_window(cells, number, len(items)), (kept[1 + 2 * number], kept[2 + 2 * number])
        x = BLOCKS[norm](x, weights, f"blocks.{number}", heads=2, mask=mask, kept=on_forward)
    hidden = normed(x, weights, "last_norm", 1e-8)
    table = weights["items.weight"][1:]
    return hidden @ np.concatenate([table, np.tile(person * 2, (len(table), 1))], axis=1).T


@pytest.mark.parametrize("cells", [None, factors(layers=2, heads=2, length=LENGTH)], ids=["open", "gated"])
@pytest.mark.parametrize("norm", BLOCKS)
def test_equals_the_second_implementation(make_log: MakeLog, norm: str, cells: np.ndarray | None) -> None:
    sequences = make_log(lengths=LENGTHS).sequences
    model = network(sequences, norm=norm)
    sizes = sequences.offsets.diff()
    batch = windows(sequences, torch.arange(5), sizes, length=LENGTH, with_targets=False)
    scores = (model.encode(batch, gate=gate_of(cells)) @ model.item_table()[1:].T).detach().flatten(0, 1)
    people = weights_of(model)["users.weight"]
    assert sequences.train_lengths.tolist() == [2, 1, 7, 3, 4]
    trained = people[[0, 2, 3, 4]].mean(0)
    for user in range(5):
        items = sequences.items[sequences.offsets[user] : sequences.offsets[user + 1]].tolist()[-LENGTH:]
        end = int(batch.ends[user])
        ours = scores[end - len(items) + 1 : end + 1].numpy()
        expected = scores_by_hand(model, items, trained if user == 1 else people[user], cells, norm=norm)
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_dropout_falls_on_embeddings_attention_and_twice_on_each_feed_forward_layer(make_log: MakeLog) -> None:
    sequences = make_log(lengths=LENGTHS).sequences
    model = network(sequences)
    batch = windows(sequences, torch.tensor([2]), torch.tensor([LENGTH]), length=LENGTH, with_targets=False)
    dropout, masks = recorded_dropout()
    ours = (model.encode(batch, dropout=dropout)[0] @ model.item_table()[1:].T).detach().numpy()
    items = sequences.items[sequences.offsets[2] :][:LENGTH].tolist()
    cells, kept = np.stack([masks[1], masks[4]]), [masks[0], *masks[2:4], *masks[5:]]
    person = weights_of(model)["users.weight"][2]
    np.testing.assert_allclose(ours, scores_by_hand(model, items, person, cells, kept=kept), atol=1e-5)
    assert all((mask == 0).any() for mask in masks)


def test_a_stranger_is_the_mean_user(make_log: MakeLog) -> None:
    sequences = make_log(lengths=LENGTHS).sequences
    model = network(sequences)
    batch = windows(sequences, torch.tensor([3]), torch.tensor([5]), length=LENGTH, with_targets=False)
    strange = [model.encode(replace(batch, users=torch.full_like(batch.users, number))) for number in (-1, 5, 1)]
    assert torch.equal(strange[0], strange[1])
    assert torch.equal(strange[0], strange[2]), "user 1 has too few events to be trained on"
    assert not torch.allclose(strange[0], model.encode(batch))


def test_other_users_padding_and_later_items_have_no_influence(make_log: MakeLog) -> None:
    sequences = make_log(lengths=LENGTHS).sequences
    model = network(sequences)

    def states(changed: Sequences) -> torch.Tensor:
        batch = windows(changed, torch.tensor([0, 1]), torch.tensor([4, 3]), length=LENGTH, with_targets=False)
        assert len(batch.items) == 1
        return model.encode(batch).flatten(0, 1)[int(batch.ends[0]) - 3 : int(batch.ends[0]) + 1]

    alone = states(sequences)
    later = sequences.items.clone()
    later[3] = later[3] % 30 + 1
    assert torch.equal(alone[:3], states(replace(sequences, items=later))[:3])
    assert not torch.equal(alone[3], states(replace(sequences, items=later))[3])
    neighbour = sequences.items.clone()
    neighbour[4:] = 1
    assert torch.equal(alone, states(replace(sequences, items=neighbour)))
    with torch.no_grad():
        model.users.weight[4] += 9.0
        model.items.weight[0] = 50.0
    assert torch.equal(alone, states(sequences)), "neither padding nor a user who is not asked about counts"


def test_what_is_replaced_is_replaced_as_the_authors_do(make_log: MakeLog) -> None:
    """Their loop, one window at a time from its end, gives the same targets for the same replaced items."""
    sequences = make_log(lengths=[9, 5, 6, 20] * 10).sequences
    model = network(sequences, keep_items=0.6, keep_users=0.5)
    batch = next(training_batches(sequences, length=LENGTH, batch_size=40, generator=torch.Generator().manual_seed(0)))
    assert batch.targets is not None
    shown = model.training_view(batch, draws_for(sequences, seed=1))
    assert shown.targets is not None
    users: list[list[int]] = []
    agreeing: list[tuple[bool, bool]] = []
    for row in range(len(batch.items)):
        for segment in range(1, int(batch.segments[row].max()) + 1):
            cells = torch.nonzero(batch.segments[row] == segment).squeeze(1).tolist()
            users.append(shown.users[row, cells].unique().tolist() + batch.users[row, cells[:1]].tolist())
            following = int(batch.targets[row, cells[-1]])
            for cell in reversed(cells):
                kept = bool(shown.items[row, cell] == batch.items[row, cell])
                agreeing.append((kept, bool(shown.targets[row, cell] == following)))
                following = int(shown.items[row, cell])
    assert all(len(of_window) == 2 for of_window in users), "one user a window"
    is_kept, agrees = np.array(agreeing).T
    assert 0.45 < is_kept.mean() < 0.75
    assert agrees[is_kept].mean() > 0.9, "all but the items that were replaced by themselves"
    assert agrees[~is_kept].mean() < 0.2, "the target of a replaced item is random"
    assert 0.2 < np.mean([new == own for new, own in users]) < 0.8
    assert torch.equal(shown.items[batch.segments == 0], batch.items[batch.segments == 0])
    assert torch.equal(batch.cells, shown.cells)


def test_items_and_users_give_way_each_at_their_own_rate_to_any_other(make_log: MakeLog) -> None:
    sequences = make_log(lengths=[9] * 200).sequences
    order = torch.Generator().manual_seed(0)
    batch = next(training_batches(sequences, length=LENGTH, batch_size=200, generator=order))
    draws = draws_for(sequences, seed=1)
    items_alone = network(sequences, keep_items=0.0, keep_users=1.0).training_view(batch, draws)
    assert torch.equal(items_alone.users, batch.users)
    assert items_alone.items[batch.segments > 0].unique().tolist() == list(range(1, 31))
    assert items_alone.targets is not None
    assert items_alone.targets[batch.segments > 0].unique().tolist() == list(range(1, 31))
    users_alone = network(sequences, keep_items=1.0, keep_users=0.25).training_view(batch, draws)
    assert torch.equal(users_alone.items, batch.items)
    assert torch.equal(users_alone.targets, batch.targets)  # type: ignore[arg-type]
    others = users_alone.users[batch.segments > 0]
    assert float((others != batch.users[batch.segments > 0]).float().mean()) == pytest.approx(0.75, abs=0.1)
    assert float(others.max()) > 190 > 10 > float(others.min())


def test_it_is_trained_on_what_is_replaced(make_log: MakeLog) -> None:
    sequences = make_log(lengths=LENGTHS).sequences
    sizes = {"dim": 8, "user_dim": 4, "heads": 2, "length": LENGTH, "dropout": 0.0}
    model = build(ModelConfig.from_dict({"backbone": "sse-pt", "loss": "softmax"} | sizes), 30, seed=4, user_count=5)
    assert isinstance(model, NextItem)
    model.prepare(sequences)
    order = torch.Generator().manual_seed(0)
    batch = next(training_batches(sequences, length=LENGTH, batch_size=5, generator=order))
    shown = model.backbone.training_view(batch, draws_for(sequences, seed=1))
    terms = model.loss(batch, draws_for(sequences, seed=1)).terms
    assert torch.equal(terms, model.position_losses(shown, None, dropout=None))
    assert not torch.allclose(terms, model.position_losses(batch, None, dropout=None))


def test_nothing_is_replaced_when_all_is_kept_nor_outside_training(make_log: MakeLog) -> None:
    sequences = make_log(lengths=LENGTHS).sequences
    model = network(sequences, keep_items=1.0, keep_users=1.0)
    batch = next(training_batches(sequences, length=LENGTH, batch_size=5, generator=torch.Generator().manual_seed(0)))
    shown = model.training_view(batch, draws_for(sequences, seed=1))
    assert torch.equal(shown.items, batch.items)
    assert torch.equal(shown.targets, batch.targets)  # type: ignore[arg-type]
    assert torch.equal(shown.users, batch.users)
    never = network(sequences, keep_items=0.0, keep_users=0.0)
    assert torch.equal(never.encode(batch), never.encode(batch))


def test_a_log_of_other_users_is_refused(make_log: MakeLog) -> None:
    sequences = make_log(lengths=LENGTHS).sequences
    with pytest.raises(ValueError, match="the model has 5 users, and the log 2"):
        network(sequences).prepare(make_log(lengths=[5, 6]).sequences)
