"""CL4SRec: the law of its views, what is computed of them, and what a training with them comes to."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from models.catalogue import build, check
from models.config import ModelConfig, TrainingConfig, WrongChoice
from models.engine.batches import Batch
from models.engine.ranking import Protocol, rank
from models.engine.sequences import InteractionLog, Sequences
from models.engine.training import Training
from models.networks.cl4srec import CL4SRec, Shares, contrast, views
from models.storage import load_model, save_model
from tests.models.builders import ITEMS, draws_for, planted_log
from tests.models.conftest import MakeLog

SMALL = ModelConfig(dim=8, heads=2, length=12, contrast=0.1)
PUBLISHED = Shares(crop=0.6, mask=0.3, reorder=0.6)
Law = dict[tuple[int, ...], float]


def numbered(lengths: list[int]) -> Sequences:
    """Histories in which every event has an item of its own, all of which but the last are inputs of a training."""
    sizes = torch.tensor(lengths)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), sizes.cumsum(0)])
    items = torch.arange(1, int(offsets[-1]) + 1)
    return Sequences(items.int(), offsets, sizes, len(items), times=items**2)


def batch_of(sequences: Sequences, *, length: int = 12, backbone: str = "sasrec") -> Batch:
    """All users' training windows."""
    model = build(replace(SMALL, length=length, backbone=backbone), sequences.item_count, seed=1)
    (batch,) = model.training_batches(
        sequences,
        batch_size=sequences.user_count,
        generator=torch.Generator().manual_seed(0),
        draws=draws_for(sequences),
    )
    return batch


def windows_in(batch: Batch, grid: Tensor) -> list[list[int]]:
    """The values of each window's events, in the order of its `ends`: read cell by cell."""
    length = batch.items.shape[1]
    found = []
    for end in batch.ends.tolist():
        row, last = divmod(end, length)
        segments = batch.segments[row].tolist()
        cells = [column for column in range(length) if segments[column] == segments[last]]
        assert cells == list(range(cells[0], last + 1)), "a window is in one piece, and ends at its end"
        found.append(grid[row, cells].tolist())
    return found


def law_of(window: list[int], shares: Shares) -> Law:
    """The probability of each view of a window, by trying every draw."""
    size, law = len(window), Counter[tuple[int, ...]]()
    part = max(math.floor(shares.crop * size), 1)
    starts = range(size - part + 1)
    for start in starts:
        law[tuple(window[start : start + part])] += 1 / 3 / len(starts)
    chosen = list(combinations(range(size), math.floor(shares.mask * size)))
    for places in chosen:
        law[tuple(0 if place in places else item for place, item in enumerate(window))] += 1 / 3 / len(chosen)
    part = math.floor(shares.reorder * size)
    starts = range(size - part + 1)
    for start in starts:
        orders = list(permutations(window[start : start + part]))
        for order in orders:
            view = (*window[:start], *order, *window[start + part :])
            law[view] += 1 / 3 / len(starts) / len(orders)
    return dict(law)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
@pytest.mark.parametrize(
    "shares",
    [
        PUBLISHED,
        Shares(crop=0.4, mask=0.0, reorder=0.0),
        Shares(crop=1.0, mask=0.6, reorder=0.0),
        Shares(crop=1.0, mask=0.0, reorder=0.8),
        Shares(crop=0.1, mask=1.0, reorder=1.0),
    ],
    ids=["published", "crop", "mask", "reorder", "extremes"],
)
def test_views_come_as_often_as_every_draw_tried_says(shares: Shares, size: int) -> None:
    """Among other windows of the same rows: none that is not possible, and each possible one as often as it should."""
    users = 6000
    batch = batch_of(numbered([size + 1] * users))
    originals = windows_in(batch, batch.items)
    altered = views(batch, shares, draws_for(numbered([2])))
    seen: Counter[tuple[int, ...]] = Counter()
    for number, view in enumerate(windows_in(altered, altered.items)):
        first = originals[number % users][0]
        seen[tuple(0 if item == 0 else item - first + 1 for item in view)] += 1
    law = law_of(list(range(1, size + 1)), shares)
    assert set(seen) <= set(law)
    for view, probability in law.items():
        expected = 2 * users * probability
        assert abs(seen[view] - expected) <= 5 * math.sqrt(expected), view


def test_the_two_views_of_a_window_are_drawn_apart() -> None:
    users = 3000
    batch = batch_of(numbered([11] * users))
    altered = views(batch, PUBLISHED, draws_for(numbered([2])))
    cropped = torch.tensor([len(view) < 10 for view in windows_in(altered, altered.items)]).view(2, users)
    assert float(cropped.float().mean()) == pytest.approx(1 / 3, abs=0.03)
    assert float(cropped.all(0).float().mean()) == pytest.approx(1 / 9, abs=0.03)


LENGTHS = [2, 30, 5, 9, 3, 13, 2, 8, 21, 4, 6, 10]


def test_views_are_windows_packed_as_windows_are() -> None:
    """Of many sizes: at the right end of a row of their own by their positions, with their user, and the times of their
    places whatever items stand there.
    """
    sequences = numbered(LENGTHS)
    batch = batch_of(sequences)
    assert batch.times is not None
    altered = views(batch, PUBLISHED, draws_for(sequences))
    assert altered.times is not None
    assert altered.targets is None
    count = len(batch.ends)
    shown, users, times, positions = (
        windows_in(altered, grid) for grid in (altered.items, altered.users, altered.times, altered.positions)
    )
    originals = {
        name: windows_in(batch, grid)
        for name, grid in (("items", batch.items), ("users", batch.users), ("times", batch.times))
    }
    assert len(shown) == 2 * count
    for number, view in enumerate(shown):
        window = originals["items"][number % count]
        assert tuple(view) in law_of(window, PUBLISHED) if len(window) < 8 else set(view) <= {0, *window}
        assert users[number] == originals["users"][number % count][: len(view)]
        assert positions[number] == list(range(12 - len(view), 12))
        if len(view) < len(window):
            assert times[number] == [item**2 for item in view]
        else:
            assert times[number] == originals["times"][number % count]
    real = torch.nonzero(altered.segments.flatten()).squeeze(1)
    assert torch.equal(altered.cells.sort().values, real)
    assert len(real) == sum(map(len, shown))
    assert altered.items.shape[0] < 2 * batch.items.shape[0]
    assert int(altered.items[altered.segments == 0].abs().sum()) == 0


def test_the_same_draws_make_the_same_views() -> None:
    batch = batch_of(numbered(LENGTHS))
    one, again, other = (views(batch, PUBLISHED, draws_for(numbered([2]), seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(one.items, again.items)
    assert one.items.shape != other.items.shape or not torch.equal(one.items, other.items)


@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_the_contrastive_loss_is_that_of_a_loop(temperature: float) -> None:
    states = torch.randn(14, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = states.tolist()
    losses = []
    for a in range(14):
        similar = [math.exp(sum(x * y for x, y in zip(rows[a], rows[c], strict=True)) / temperature) for c in range(14)]
        partner = a + 7 if a < 7 else a - 7
        losses.append(-math.log(similar[partner] / sum(similar[c] for c in range(14) if c != a)))
    assert float(contrast(states, temperature=temperature)) == pytest.approx(sum(losses) / 14, rel=1e-9)


def test_one_window_alone_has_nothing_to_be_told_from() -> None:
    states = torch.randn(2, 5, requires_grad=True)
    value = contrast(states, temperature=1.0)
    value.backward()  # type: ignore[no-untyped-call]
    assert float(value.detach()) == 0
    assert states.grad is not None
    assert not states.grad.any()


def test_windows_of_one_event_are_contrasted_as_they_are() -> None:
    """Their views differ in nothing but dropout."""
    sequences = numbered([2] * 6)
    for dropout, alike in ((0.0, True), (0.5, False)):
        model = build(replace(SMALL, dropout=dropout), sequences.item_count, seed=1)
        assert isinstance(model, CL4SRec)
        (states, loss) = states_and_loss(model, batch_of(sequences), sequences)
        first, second = states.view(2, 6, -1)
        assert torch.allclose(first, second) == alike
        assert float(loss) > 0


def states_and_loss(model: CL4SRec, batch: Batch, sequences: Sequences) -> tuple[Tensor, Tensor]:
    """What the encoder makes of each view in a step, and what the step says that its contrastive loss is."""
    passes: list[tuple[Batch, Tensor]] = []
    encode = model.base.backbone.encode

    def recording(batch: Batch, **options: Any) -> Tensor:
        passes.append((batch, encode(batch, **options)))
        return passes[-1][1]

    model.base.backbone.encode = recording  # type: ignore[method-assign]
    loss = model.loss(batch, draws_for(sequences))
    model.base.backbone.encode = encode  # type: ignore[method-assign]
    altered, hidden = passes[-1]
    return hidden.flatten(0, 1)[altered.ends].detach(), loss.penalties["contrast"].detach() / model.weight


@pytest.mark.parametrize("backbone", ["sasrec", "tisasrec"])
def test_a_step_is_the_plain_one_and_the_views_alone_in_their_rows(backbone: str) -> None:
    """Terms to the bit, whose negatives and dropout are drawn as they would be, and the penalty of states that no
    neighbour of the same row has a part in.
    """
    sequences = numbered(LENGTHS)
    model, plain = (
        build(replace(SMALL, backbone=backbone, dropout=0.3, contrast=weight), sequences.item_count, seed=1)
        for weight in (0.5, 0.0)
    )
    assert isinstance(model, CL4SRec)
    batch = batch_of(sequences, backbone=backbone)
    loss = model.loss(batch, draws_for(sequences))
    expected = plain.loss(batch, draws_for(sequences))
    assert torch.equal(loss.terms, expected.terms)
    assert set(loss.penalties) == {"contrast"}
    assert float(loss.objective().detach()) == pytest.approx(
        float((expected.objective() + loss.penalties["contrast"]).detach())
    )

    model.base.backbone.dropout = 0.0  # type: ignore[assignment]
    for block in model.base.backbone.blocks:
        block.dropout = 0.0  # type: ignore[assignment]
        block.attention.dropout = 0.0  # type: ignore[assignment, union-attr]
    altered = views(batch, model.shares, draws_for(sequences))
    alone = torch.cat([model.query(window) for window in each_alone(altered)])
    states, told = states_and_loss(model, batch, sequences)
    torch.testing.assert_close(states, alone.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(told, contrast(alone.detach(), temperature=1.0), rtol=1e-4, atol=1e-5)


def each_alone(batch: Batch) -> Iterator[Batch]:
    """Each window at the end of a row of its own."""
    length = batch.items.shape[1]
    columns = {"items": batch.items, "users": batch.users, "positions": batch.positions, "times": batch.times}
    read = {name: windows_in(batch, grid) for name, grid in columns.items() if grid is not None}
    for number, items in enumerate(read["items"]):
        size = len(items)
        row = {name: torch.tensor([[0] * (length - size) + values[number]]) for name, values in read.items()}
        cells = torch.arange(length - size, length)
        segments = torch.zeros(1, length, dtype=torch.int64).index_fill_(1, cells, 1)
        yield Batch(segments=segments, cells=cells, ends=cells[-1:], **row)


def test_without_a_contrastive_loss_it_is_the_plain_recommender(make_log: MakeLog) -> None:
    log = make_log(lengths=[9, 4, 12, 5, 8])
    others = {"contrast_temperature": 0.5, "contrast_crop": 0.2, "contrast_mask": 0.9, "contrast_reorder": 0.1}
    plain, without = (
        trained(log, 30, epochs=3, **settings) for settings in ({"contrast": 0.0}, {"contrast": 0.0, **others})
    )
    assert told(plain) == told(without)
    for name, values in plain.model.state_dict().items():
        assert torch.equal(values, without.model.state_dict()[name]), name
    assert "contrast.loss" not in told(plain)[0]
    assert (
        replace(SMALL, contrast=0.0).effective()
        == ModelConfig.from_dict(SMALL.to_dict() | {"contrast": 0.0} | others).effective()
    )


@pytest.mark.parametrize("loss", ["bce", "softmax"])
def test_a_training_brings_the_contrastive_loss_down(loss: str) -> None:
    """Below that of views that are all alike to each other, and in each epoch below where it has next to no weight."""
    log, _ = planted_log(kind="uniform", share=0.2, users=200)
    settings = {"loss": loss, "epochs": 8, "batch_size": 10, "length": 20}
    much, little = (trained(log, ITEMS, contrast=weight, **settings) for weight in (0.5, 1e-9))
    course, other = ([epoch["contrast.loss"] for epoch in told(each)] for each in (much, little))
    assert course[0] > math.log(19) + 0.5
    assert course[-1] < math.log(19) - 0.1
    assert all(mine < its for mine, its in zip(course, other, strict=True))


def test_a_training_goes_on_where_it_was_and_comes_out_the_same(tmp_path: Path) -> None:
    log, _ = planted_log(kind="uniform", share=0.2, users=60)
    whole, again = (trained(log, ITEMS, epochs=4, batch_size=16) for _ in range(2))
    trained(log, ITEMS, epochs=2, batch_size=16, checkpoint=tmp_path / "c.pt")
    resumed = trained(log, ITEMS, epochs=4, batch_size=16, checkpoint=tmp_path / "c.pt")
    assert told(whole) == told(again) == told(resumed)
    assert told(whole)[0]["contrast.loss"] > 0
    for name, values in whole.model.state_dict().items():
        assert torch.equal(values, resumed.model.state_dict()[name]), name
        assert torch.equal(values, again.model.state_dict()[name]), name


@pytest.mark.parametrize("rows", ["all", "touched"])
def test_the_mask_is_never_ranked_and_the_stored_model_ranks_as_the_trained_one(tmp_path: Path, rows: str) -> None:
    """What stands for it is zero after a training, too, and the model has the plain one's weights and no other."""
    log, _ = planted_log(kind="uniform", share=0.2, users=60)
    training = trained(log, ITEMS, epochs=2, table_rows=rows, contrast_mask=0.9)
    model = training.model
    table = model.item_table()
    assert table.shape == (ITEMS + 1, 8)
    assert not table[0].any()
    plain = build(replace(SMALL, contrast=0.0), ITEMS, seed=1)
    assert [value.shape for value in model.parameters()] == [value.shape for value in plain.parameters()]
    save_model(model, replace(SMALL, contrast_mask=0.9), tmp_path, item_count=ITEMS)
    targets = log.targets["test"]
    protocol = Protocol.of(log.sequences, targets, seed=0)
    ranks = [rank(each, log.sequences, targets, protocol) for each in (model, load_model(tmp_path))]
    assert len(set(ranks[0]["full_unseen"].tolist())) > 1
    for name, values in ranks[0].items():
        assert values.tolist() == ranks[1][name].tolist()


def test_in_lower_precision_the_contrastive_loss_is_still_computed_in_full() -> None:
    sequences = numbered(LENGTHS)
    model = build(replace(SMALL, dropout=0.0), sequences.item_count, seed=1)
    batch = batch_of(sequences)
    full = model.loss(batch, draws_for(sequences)).penalties["contrast"]
    with torch.autocast("cpu", torch.bfloat16):
        lower = model.loss(batch, draws_for(sequences)).penalties["contrast"]
    assert lower.dtype == torch.float32
    assert float(lower.detach()) == pytest.approx(float(full.detach()), rel=0.02)


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        ({"backbone": "bert4rec"}, "the backbone bert4rec has no contrastive loss"),
        ({"backbone": "sse-pt"}, "the backbone sse-pt has no contrastive loss"),
        ({"backbone": "popularity"}, "the backbone popularity counts the log"),
        ({"gate": "positional"}, "is for a plain network"),
        ({"gate": "top-k"}, "is for a plain network"),
        ({"gamma": 0.1}, "is for a plain network"),
        ({"noise_model": "popularity"}, "is for a plain network"),
        ({"robust": "truncated"}, "is for a plain network"),
        ({"robust": "co-teaching"}, "is for a plain network"),
        ({"drop_events": 0.1}, "is for a plain network"),
        ({"corrupt_inputs": 0.1}, "is for a plain network"),
    ],
)
def test_it_is_refused_beside_what_it_is_not_made_for(beside: dict[str, Any], said: str) -> None:
    with pytest.raises(WrongChoice, match=said) as refused:
        check(ModelConfig.from_dict({"contrast": 0.1} | beside))
    assert refused.value.setting == "contrast"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"contrast": -0.1}, "contrast must be at least 0"),
        ({"contrast_temperature": 0.0}, "contrast_temperature must be positive"),
        ({"contrast_crop": 0.0}, r"contrast_crop must lie in \(0, 1\]"),
        ({"contrast_mask": 1.1}, r"contrast_mask must lie in \[0, 1\]"),
        ({"contrast_reorder": -0.1}, r"contrast_reorder must lie in \[0, 1\]"),
    ],
)
def test_a_share_or_temperature_that_makes_no_sense_is_refused(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ModelConfig.from_dict(wrong)


def test_it_is_neither_stacked_nor_compiled() -> None:
    assert not SMALL.can_be_stacked
    assert not SMALL.can_be_compiled("cuda")
    assert replace(SMALL, contrast=0.0).can_be_stacked


def trained(
    log: InteractionLog,
    item_count: int,
    *,
    epochs: int,
    batch_size: int = 32,
    table_rows: str = "auto",
    checkpoint: Path | None = None,
    **settings: Any,
) -> Training:
    model = build(ModelConfig.from_dict(SMALL.to_dict() | settings), item_count, seed=1)
    config = TrainingConfig.from_dict({"epochs": epochs, "batch_size": batch_size, "table_rows": table_rows})
    training = Training(
        model, log, log, config, seed=1, evaluation_seed=0, device=torch.device("cpu"), checkpoint=checkpoint
    )
    training.run(on_epoch=lambda _: None)
    return training


def told(training: Training) -> list[dict[str, float]]:
    """What is known of each epoch, less the time that it took."""
    return [
        {name: value for name, value in epoch.metrics.items() if not name.startswith("time.")}
        for epoch in training.progress.history
    ]
