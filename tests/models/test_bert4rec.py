"""BERT4Rec against torch's own encoder layer, its masked windows, and how it ranks."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.catalogue import build
from models.config import ModelConfig
from models.engine.batches import Batch, Masking, history_batches, masked_batches, masked_windows, windows
from models.engine.sequences import Sequences, Targets
from models.networks.backbone import NextItem
from models.networks.bert4rec import BERT4Rec, BidirectionalBlock
from tests.models.builders import draws_for
from tests.models.conftest import MakeLog
from tests.models.references import (
    attention,
    factors,
    gate_of,
    linear,
    normed,
    perturbed,
    recorded_dropout,
    weights_of,
    window_states,
)

LENGTH = 7
LENGTHS = [2, 4, 9, 3, 5]
MASK = 31


def network() -> BERT4Rec:
    model = build(ModelConfig(backbone="bert4rec", dim=12, blocks=2, heads=3, length=LENGTH), 30, seed=4)
    assert isinstance(model, NextItem)
    assert model.appended == MASK
    backbone = perturbed(model.backbone)
    assert isinstance(backbone, BERT4Rec)
    return backbone


def torch_layer(block: BidirectionalBlock) -> nn.TransformerEncoderLayer:
    """torch's post-norm layer with the same weights."""
    layer = nn.TransformerEncoderLayer(12, 3, 48, 0.0, "gelu", 1e-12, batch_first=True, norm_first=False)
    own = block.attention
    parts = (own.query, own.key, own.value)
    layer.self_attn.in_proj_weight.data = torch.cat([part.weight.data for part in parts])
    layer.self_attn.in_proj_bias.data = torch.cat([part.bias.data for part in parts])
    for theirs, ours in (
        (layer.self_attn.out_proj, block.projection),
        (layer.linear1, block.inner),
        (layer.linear2, block.outer),
        (layer.norm1, block.attention_norm),
        (layer.norm2, block.forward_norm),
    ):
        theirs.load_state_dict(ours.state_dict())
    return layer.double().train(mode=True)


def scores_by_torch(model: BERT4Rec, items: list[int]) -> Tensor:
    """[events, items] scores of one window, alone and without padding."""
    weights = {name: value.double() for name, value in model.state_dict().items()}
    x = weights["items.weight"][items] + weights["positions.weight"][LENGTH - len(items) :]
    x = F.layer_norm(x, (12,), weights["first_norm.weight"], weights["first_norm.bias"], 1e-12)[None]
    for block in model.blocks:
        assert isinstance(block, BidirectionalBlock)
        x = torch_layer(block)(x)
    dense = F.gelu(F.linear(x[0], weights["output.weight"], weights["output.bias"]))
    hidden = F.layer_norm(dense, (12,), weights["output_norm.weight"], weights["output_norm.bias"], 1e-12)
    return (hidden @ weights["items.weight"][1:MASK].T + weights["output_bias"][1:]).detach()


def states_by_hand(
    model: BERT4Rec, items: list[int], cells: Sequence[np.ndarray], kept: Sequence[np.ndarray | float] = (1.0,) * 5
) -> np.ndarray:
    """[events, dim + 1] of one window, which torch's layers do not take: by layer under the factors `cells` [heads,
    events, events] of attention; `kept` multiplies the embeddings, and by layer what its two halves add.
    """
    weights = weights_of(model)
    size = len(items)

    def gelu(rows: np.ndarray) -> np.ndarray:
        return np.vectorize(lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2)(rows)

    x = weights["items.weight"][items] + weights["positions.weight"][LENGTH - size :]
    x = normed(x, weights, "first_norm", 1e-12) * kept[0]
    for number in range(2):
        block, (on_attention, on_forward) = f"blocks.{number}", kept[1 + 2 * number : 3 + 2 * number]
        mixed = attention(x, x, weights, f"{block}.attention", heads=3, causal=False, mask=cells[number])
        attended = linear(mixed, weights, f"{block}.projection") * on_attention
        x = normed(x + attended, weights, f"{block}.attention_norm", 1e-12)
        inner = gelu(linear(x, weights, f"{block}.inner"))
        outer = linear(inner, weights, f"{block}.outer") * on_forward
        x = normed(x + outer, weights, f"{block}.forward_norm", 1e-12)
    hidden = normed(gelu(linear(x, weights, "output")), weights, "output_norm", 1e-12)
    return np.concatenate([hidden, np.ones((size, 1))], axis=1)


def masked(sequences: Sequences, *, share: float = 0.4, last_share: float = 0.5, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    masking = Masking(item=MASK, share=share, last_share=last_share)
    users = torch.arange(sequences.user_count)
    return masked_windows(
        sequences, users, sequences.offsets.diff(), length=LENGTH, masking=masking, generator=generator
    )


def parts(batch: Batch, window: int, size: int) -> tuple[list[int], list[int], list[int]]:
    """A window's shown items, true items, and places that are masked."""
    end = int(batch.ends[window])
    cells = list(range(end - size + 1, end + 1))
    assert batch.targets is not None
    places = sorted(cells.index(cell) for cell in batch.cells.tolist() if cell in cells)
    return batch.items.flatten()[cells].tolist(), batch.targets.flatten()[cells].tolist(), places


def test_equals_torchs_own_layers(make_log: MakeLog) -> None:
    model, sequences = network(), make_log(lengths=LENGTHS).sequences
    batch = masked(sequences)
    assert len(batch.items) < len(batch.ends), "several windows share a row"
    table = model.item_table()[1:].detach().double().numpy()
    for window, length in enumerate([*LENGTHS, *LENGTHS[:3]]):
        size = min(length, LENGTH)
        shown, _, _ = parts(batch, window, size)
        ours = window_states(model, batch, window, size) @ table.T
        np.testing.assert_allclose(ours, scores_by_torch(model, shown).numpy(), atol=1e-5)


def test_under_a_gate_equals_the_second_implementation(make_log: MakeLog) -> None:
    """A gate multiplies attention after its softmax, and what it takes is not shared out among the rest."""
    model, sequences = network(), make_log(lengths=LENGTHS).sequences
    batch = masked(sequences)
    cells = factors(layers=2, heads=3, length=LENGTH)
    for window, length in enumerate([*LENGTHS, *LENGTHS[:3]]):
        size = min(length, LENGTH)
        shown, _, _ = parts(batch, window, size)
        ours = window_states(model, batch, window, size, gate=gate_of(cells))
        np.testing.assert_allclose(ours, states_by_hand(model, shown, cells[..., -size:, -size:]), atol=1e-5)
        open_gate = states_by_hand(model, shown, np.ones((2, 3, size, size)))
        np.testing.assert_allclose(window_states(model, batch, window, size), open_gate, atol=1e-5)


def test_dropout_falls_on_embeddings_attention_and_what_each_half_of_a_block_adds(make_log: MakeLog) -> None:
    """The probabilities of attention are dropped after the softmax, and those that stay are scaled."""
    model, sequences = network(), make_log(lengths=[LENGTH]).sequences
    batch = windows(sequences, torch.tensor([0]), torch.tensor([LENGTH]), length=LENGTH, with_targets=False)
    dropout, masks = recorded_dropout()
    ours = model.encode(replace(batch, bidirectional=True), dropout=dropout)[0].detach().numpy()
    cells = [masks[1], masks[4]]
    expected = states_by_hand(model, sequences.items.tolist(), cells, [masks[0], *masks[2:4], *masks[5:]])
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    assert all((mask == 0).any() for mask in masks)


def test_when_it_ranks_the_mask_stands_after_the_history(make_log: MakeLog) -> None:
    log = make_log(lengths=LENGTHS)
    model = build(ModelConfig(backbone="bert4rec", dim=12, blocks=2, heads=3, length=LENGTH), 30, seed=4)
    assert isinstance(model, NextItem)
    backbone = perturbed(model.backbone)
    assert isinstance(backbone, BERT4Rec)
    sequences = log.sequences
    histories = torch.tensor([0, 4, 9, 2, 5])
    targets = Targets(torch.tensor([4, 1, 2, 3, 4]), torch.ones(5, dtype=torch.int64), histories)
    batches = history_batches(sequences, targets, length=LENGTH, sizes=[3, 2], appended=model.appended)
    scores = torch.cat([model.query(batch) @ model.item_table()[1:].T for batch in batches]).detach()
    for row, (user, history) in enumerate(zip(targets.users.tolist(), histories.tolist(), strict=True)):
        first = int(sequences.offsets[user])
        items = sequences.items[first : first + history].tolist()[-(LENGTH - 1) :]
        expected = scores_by_torch(backbone, [*items, MASK])[-1]
        np.testing.assert_allclose(scores[row].numpy(), expected.numpy(), atol=1e-5)


def test_what_is_masked(make_log: MakeLog) -> None:
    sequences = make_log(lengths=LENGTHS).sequences
    batch = masked(sequences)
    for window, length in enumerate([*LENGTHS, *LENGTHS[:3]]):
        size = min(length, LENGTH)
        shown, true, places = parts(batch, window, size)
        first = int(sequences.offsets[window % 5]) + length - size
        assert true == sequences.items[first : first + size].tolist()
        assert shown == [MASK if place in places else item for place, item in enumerate(true)]
        if window < 5:
            assert len(places) == max(1, round(0.4 * size))
        else:
            assert places == [size - 1]
    assert len(batch.cells) == len(set(batch.cells.tolist()))


def test_every_place_is_masked_as_often(make_log: MakeLog) -> None:
    sequences = make_log(lengths=[5]).sequences
    counts = np.zeros(5)
    for seed in range(600):
        _, _, places = parts(masked(sequences, last_share=0.0, seed=seed), 0, 5)
        counts[places] += 1
    assert counts.sum() == 1200
    assert np.abs(counts - 240).max() < 4 * math.sqrt(600 * 0.4 * 0.6)


def test_an_epoch_masks_as_much_as_the_model_is_configured_to(make_log: MakeLog) -> None:
    sequences = make_log(lengths=[12] * 10).sequences
    config = ModelConfig(backbone="bert4rec", dim=12, heads=3, length=LENGTH, masked=0.6, last_masked=0.5)
    model, order = build(config, 30, seed=4), torch.Generator().manual_seed(0)
    (batch,) = model.training_batches(sequences, batch_size=10, generator=order, draws=draws_for(sequences))
    assert len(batch.ends) == 10 + 5
    assert len(batch.cells) == 10 * 4 + 5
    assert (batch.items == MASK).sum() == len(batch.cells)


def test_an_epoch_shows_training_parts_to_their_ends(make_log: MakeLog) -> None:
    sequences = make_log(lengths=[9, 3, 4, 6]).sequences
    (batch,) = masked_batches(
        sequences,
        length=LENGTH,
        batch_size=8,
        generator=torch.Generator().manual_seed(0),
        masking=Masking(item=MASK, share=0.2, last_share=0.0),
        mask_generator=torch.Generator().manual_seed(0),
    )
    shown = {}
    assert batch.targets is not None
    for user in batch.users[batch.segments > 0].unique().tolist():
        cells = (batch.users == user) & (batch.segments > 0)
        shown[user] = batch.targets[cells].tolist()
    events = sequences.items.tolist()
    assert shown == {0: events[:7], 2: events[12:14], 3: events[16:20]}, "user 1 has one event to train on"


def test_the_future_counts_and_others_do_not(make_log: MakeLog) -> None:
    model, sequences = network(), make_log(lengths=[4, 3]).sequences

    def states(changed: Sequences) -> Tensor:
        batch = windows(changed, torch.tensor([0, 1]), torch.tensor([4, 3]), length=LENGTH, with_targets=False)
        assert len(batch.items) == 1
        return model.encode(replace(batch, bidirectional=True)).flatten(0, 1)[: int(batch.ends[0]) + 1]

    alone = states(sequences)
    later, neighbour = sequences.items.clone(), sequences.items.clone()
    later[3] = later[3] % 30 + 1
    assert not torch.allclose(alone[0], states(replace(sequences, items=later))[0])
    neighbour[4:] = neighbour[4:] % 30 + 1
    assert torch.equal(alone, states(replace(sequences, items=neighbour)))
    with torch.no_grad():
        model.items.weight[0] = 50.0
    assert torch.equal(alone, states(sequences))


def test_a_masked_item_itself_has_no_influence(make_log: MakeLog) -> None:
    model, sequences = network(), make_log(lengths=[6]).sequences
    batch = masked(sequences, last_share=0.0)
    place = int(batch.cells[0])
    other = sequences.items.clone()
    user_place = place - (int(batch.ends[0]) - 5)
    other[user_place] = other[user_place] % 30 + 1
    changed = masked(replace(sequences, items=other), last_share=0.0)
    assert torch.equal(batch.cells, changed.cells)
    assert not torch.equal(batch.targets, changed.targets)  # type: ignore[arg-type]
    assert torch.equal(model.encode(batch), model.encode(changed))


@pytest.mark.parametrize("loss", ["softmax", "gbce", "bce"])
def test_the_loss_is_taken_at_masked_places_alone(make_log: MakeLog, loss: str) -> None:
    sequences = make_log(lengths=LENGTHS).sequences
    model = build(ModelConfig(backbone="bert4rec", loss=loss, dim=12, heads=3, length=LENGTH, dropout=0), 30, seed=4)
    batch = masked(sequences)
    terms = model.loss(batch, draws_for(sequences)).terms
    assert terms.shape == batch.cells.shape
    if loss == "softmax":
        assert isinstance(model, NextItem)
        assert batch.targets is not None
        scores = model.backbone.encode(batch).flatten(0, 1) @ model.item_table()[1:].T
        expected = -scores.log_softmax(1)[batch.cells, batch.targets.flatten()[batch.cells] - 1]
        torch.testing.assert_close(terms, expected)
