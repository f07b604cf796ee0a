"""The contextual gate: its logit, what it may depend on, what it is taught, and whether it finds noise."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from models.catalogue import build
from models.config import ModelConfig, TrainingConfig
from models.denoising.contextual import ContextualGate
from models.denoising.denoised import Denoised
from models.denoising.estimators import Arm, StraightThrough, TokenCredit
from models.engine.batches import Batch, windows
from models.engine.detection import suspicions
from models.engine.sequences import InteractionLog
from models.engine.training import Training
from models.networks.attention import GateContext
from models.networks.backbone import NextItem
from tests.models.builders import TINY, auroc, draws_for, planted_log, repeated, tiny_model
from tests.models.conftest import MakeLog

ITEMS = 30
MASK = ITEMS + 1
DIM = 4


def gate_over(table: Tensor, *, planted: float = 0.0) -> ContextualGate:
    """With weights of any size; reads `table` [items + 2, dim]."""
    torch.manual_seed(0)
    gate = ContextualGate(
        lambda items: table[items], dim=DIM, rank=3, item_count=ITEMS, initial_logit=0.5, planted=planted
    )
    with torch.no_grad():
        gate.reads.weight.normal_()
    return gate


@pytest.fixture
def table() -> Tensor:
    return torch.randn(ITEMS + 2, DIM, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def batch(make_log: MakeLog) -> Batch:
    """Two windows that share a row, one that fills its own, and padding."""
    log = make_log(lengths=[9, 5, 4])
    return windows(log.sequences, torch.arange(3), torch.tensor([7, 3, 2]), length=7, with_targets=True)


def logits(gate: ContextualGate, batch: Batch) -> Tensor:
    """[rows, length, length], by the layer that asks."""
    nothing = torch.zeros(0)
    found = gate.logits(GateContext(q=nothing, k=nothing, attention=nothing, batch=batch, layer=1))
    assert found.shape[1] == 1
    return found[:, 0]


@pytest.mark.parametrize("bidirectional", [False, True])
def test_its_logit_is_that_of_items_and_of_what_is_before_them(
    table: Tensor, batch: Batch, *, bidirectional: bool
) -> None:
    gate = gate_over(table)
    batch = replace(batch, bidirectional=bidirectional)
    if bidirectional:
        batch.items[0, 1] = MASK
    told = logits(gate, batch).detach()
    keys, w_own, q_own, w_before, q_before = gate.reads.weight.detach().split([3, 1, 3, 1, 3])

    def mean_of_others(row: int, event: int) -> Tensor:
        others = [
            table[item] * math.sqrt(DIM)
            for place, item in enumerate(batch.items[row].tolist())
            if batch.segments[row, place] == batch.segments[row, event]
            and (place < event or (bidirectional and place != event))
            and item <= ITEMS
        ]
        return torch.stack(others).mean(0) if others else torch.zeros(DIM)

    cells = 0
    for row, query, key in batch.visible.nonzero().tolist():
        e_query, e_key = (table[batch.items[row, place]] * math.sqrt(DIM) for place in (query, key))
        b_query, b_key = mean_of_others(row, query), mean_of_others(row, key)
        pair = (q_own @ e_query + q_before @ b_query) @ (keys @ e_key) / math.sqrt(3)
        expected = float(w_own @ e_key + w_before @ b_key + 0.5 + pair)
        assert float(told[row, query, key]) == pytest.approx(expected, rel=1e-4, abs=1e-4)
        cells += 1
    assert cells == ((49 + 9 + 4) if bidirectional else (28 + 6 + 3))


def test_what_is_later_beside_it_or_no_event_has_no_influence(table: Tensor, batch: Batch) -> None:
    """To the bit."""
    gate = gate_over(table)
    before = logits(gate, batch)
    for segment in (1, 2):
        row = int((batch.segments == 2).any(1).nonzero()[0])
        own = (batch.segments[row] == segment).nonzero().squeeze(1)
        changed = batch.items.clone()
        other = [place for place in range(7) if place not in own.tolist()]
        changed[row, other] = 7  # the other window, and padding
        changed[row, int(own[-1])] = 9  # the last event of this one
        earlier = own[:-1]
        after = logits(gate, replace(batch, items=changed))
        assert not torch.equal(after[row, int(own[-1])], before[row, int(own[-1])])
        assert torch.equal(after[row, earlier][:, earlier], before[row, earlier][:, earlier])


@pytest.mark.parametrize("backbone", ["sasrec", "tisasrec", "sse-pt"])
def test_a_query_does_not_see_later_items_through_it(make_log: MakeLog, backbone: str) -> None:
    log = make_log(lengths=[9, 4])
    config = ModelConfig(backbone=backbone, dim=8, user_dim=4, length=9, gate="contextual")
    model = build(config, ITEMS, seed=1, user_count=2)
    model.prepare(log.sequences)
    assert isinstance(model, Denoised)
    assert isinstance(model.gate, ContextualGate)
    with torch.no_grad():
        model.gate.reads.weight.normal_()
    whole = windows(log.sequences, torch.tensor([0]), torch.tensor([7]), length=9, with_targets=False)
    early = replace(whole, ends=whole.ends - 3)
    changed = whole.items.clone()
    changed[0, int(early.ends[0]) + 1 :] = 3
    assert torch.equal(model.query(early), model.query(replace(early, items=changed)))
    assert not torch.equal(model.query(whole), model.query(replace(whole, items=changed)))


def test_the_query_of_a_masked_item_reads_what_is_around_it(make_log: MakeLog) -> None:
    log = make_log(lengths=[9])
    model = build(ModelConfig(backbone="bert4rec", dim=8, length=9, gate="contextual"), ITEMS, seed=1)
    assert isinstance(model, Denoised)
    assert isinstance(model.gate, ContextualGate)
    with torch.no_grad():
        model.gate.reads.weight.normal_()
    batch = replace(
        windows(log.sequences, torch.tensor([0]), torch.tensor([7]), length=9, with_targets=False, appended=MASK),
        bidirectional=True,
    )
    changed = batch.items.clone()
    changed[0, 2] = 3
    assert not torch.equal(
        logits(model.gate, batch)[0, -1, 4], logits(model.gate, replace(batch, items=changed))[0, -1, 4]
    )


def test_penalties_are_those_of_the_visible_cells(table: Tensor, batch: Batch) -> None:
    gate = gate_over(table)
    keeps = torch.sigmoid(logits(gate, batch))[batch.visible]
    torch.testing.assert_close(gate.penalty(batch, StraightThrough(), on="mean"), keeps.mean())
    torch.testing.assert_close(gate.penalty(batch, StraightThrough(), on="sum"), keeps.sum() / 3)


def test_what_is_planted_is_half_anything_and_half_what_others_clicked(make_log: MakeLog) -> None:
    """A third of the catalogue is never clicked."""
    log = make_log(lengths=[52] * 60, item_count=20)
    batch = windows(log.sequences, torch.arange(60), torch.full((60,), 50), length=50, with_targets=True)
    seen: list[Tensor] = []
    gate = gate_over(torch.randn(ITEMS + 2, DIM), planted=0.4)
    embed = gate.embed

    def recording(items: Tensor) -> Tensor:
        seen.append(items)
        return embed(items)

    gate.embed = recording
    draws = draws_for(log.sequences, seed=0)
    lesson = gate.lesson(batch, draws.uniforms)
    (planted,) = seen
    replaced = planted != batch.items
    assert float(replaced.float().mean()) == pytest.approx(0.4 * (1 - 0.5 / 30 - 0.5 / 20), abs=0.02)
    assert float((planted > 20).float().mean()) == pytest.approx(0.2 / 3, abs=0.015)
    assert batch.items.max() <= 20

    own = logits(gate, replace(batch, items=planted))
    visible = batch.visible.float()
    mean = (own * visible).sum(1) / visible.sum(1)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(mean, (~replaced).float())
    assert lesson is not None
    torch.testing.assert_close(lesson, expected)
    assert gate_over(torch.randn(ITEMS + 2, DIM)).lesson(batch, draws.uniforms) is None


def test_a_mask_is_not_replaced_and_nothing_is_where_there_is_no_event(make_log: MakeLog) -> None:
    log = make_log(lengths=[9, 3])
    model = build(
        ModelConfig(backbone="bert4rec", dim=8, length=9, gate="contextual", gate_planted=0.99), ITEMS, seed=1
    )
    assert isinstance(model, Denoised)
    assert isinstance(model.gate, ContextualGate)
    seen: list[Tensor] = []
    embed = model.gate.embed
    model.gate.embed = lambda items: embed(seen.append(items) or items)
    draws = draws_for(log.sequences, seed=0)
    generator = torch.Generator().manual_seed(0)
    (batch,) = model.training_batches(log.sequences, batch_size=4, generator=generator, draws=draws)
    model.gate.lesson(batch, draws.uniforms)
    fixed = (batch.items == MASK) | (batch.segments == 0)
    assert fixed.any()
    assert torch.equal(seen[0][fixed], batch.items[fixed])
    assert (seen[0][~fixed] != batch.items[~fixed]).float().mean() > 0.8


def test_the_lesson_teaches_the_gate_alone(make_log: MakeLog) -> None:
    log = make_log(lengths=[9, 4, 12, 5])
    model = build(ModelConfig(dim=8, length=6, gate="contextual", beta=0.0), ITEMS, seed=1)
    draws = draws_for(log.sequences, seed=0)
    generator = torch.Generator().manual_seed(0)
    (batch,) = model.training_batches(log.sequences, batch_size=4, generator=generator, draws=draws)
    loss = model.loss(batch, draws)
    assert set(loss.penalties) == {"lesson"}
    loss.penalties["lesson"].backward()
    reached = {name for name, values in model.named_parameters() if values.grad is not None}
    assert reached == {"gate.reads.weight", "gate.constant"}


def test_where_nothing_is_known_nothing_is_learned(table: Tensor, batch: Batch) -> None:
    masked = replace(batch, items=torch.where(batch.items > 0, MASK, 0))
    lesson = gate_over(table, planted=0.5).lesson(masked, torch.rand)
    assert lesson is not None
    assert float(lesson.detach()) == 0.0


def test_its_logits_keep_their_digits_in_lower_precision(table: Tensor, batch: Batch) -> None:
    gate = gate_over(table)
    with torch.autocast("cpu", torch.bfloat16):
        lower = logits(gate, batch)
    assert lower.dtype == torch.float32
    torch.testing.assert_close(lower, logits(gate, batch), rtol=0.05, atol=0.2)


@pytest.mark.parametrize("passes", ["apart", "stacked"])
def test_a_step_computes_its_logits_once(make_log: MakeLog, passes: str) -> None:
    """Whatever the layers and passes: of the batch, and of the copy with planted items."""
    log = make_log(lengths=[9, 4, 12, 5])
    model = build(ModelConfig.from_dict({"dim": 8, "length": 6, "gate": "contextual", "passes": passes}), ITEMS, seed=1)
    assert isinstance(model, Denoised)
    assert isinstance(model.gate, ContextualGate)
    calls: list[int] = []
    embed = model.gate.embed
    model.gate.embed = lambda items: (calls.append(1), embed(items))[1]
    draws = draws_for(log.sequences, seed=0)
    generator = torch.Generator().manual_seed(0)
    (batch,) = model.training_batches(log.sequences, batch_size=4, generator=generator, draws=draws)
    model.loss(batch, draws)
    assert len(calls) == 2


def test_arms_mean_is_the_exact_gradient_of_its_weights(make_log: MakeLog) -> None:
    """Of the expected loss over every mask, through the logits: no logit depends on what is drawn below it."""
    log = make_log(lengths=[6], item_count=5)
    base = tiny_model(5)
    gate = ContextualGate(base.backbone.item_embeddings, dim=4, rank=2, item_count=5, initial_logit=0.4, planted=0.0)
    with torch.no_grad():
        gate.reads.weight.normal_(std=0.3, generator=torch.Generator().manual_seed(1))
    exact = exact_gradient(base, gate, log)
    model, random, gradients = Denoised(base, gate, Arm(TokenCredit())), draws_for(log.sequences, seed=0), []
    batch = repeated(log, 400)
    for _ in range(60):
        gradients += torch.autograd.grad(model.loss(batch, random).surrogates["gate"], gate.reads.weight)
    estimates = torch.stack(gradients)
    error, standard = (estimates.mean(0) - exact).abs(), estimates.std(0) / len(estimates) ** 0.5
    assert (error <= 4.0 * standard + 1e-7).all(), (error / standard).max()
    assert exact.abs().max() > 8 * standard.mean(), "the test could not tell a wrong gradient"


def exact_gradient(base: NextItem, gate: ContextualGate, log: InteractionLog) -> Tensor:
    batch = repeated(log, 2 ** (2 * 6))
    cells = [(layer, *pair) for layer in range(TINY.blocks) for pair in batch.visible[0].nonzero().tolist()]
    masks = torch.zeros(len(batch.items), TINY.blocks, 3, 3)
    for column, values in zip(cells, zip(*itertools.product((0.0, 1.0), repeat=len(cells)), strict=True), strict=True):
        masks[:, *column] = torch.tensor(values)
    keep = torch.sigmoid(logits(gate, replace(batch)))[0].double()
    drawn = torch.stack([masks[:, *cell] for cell in cells], dim=1)
    own = torch.stack([keep[query, key] for _, query, key in cells])
    probabilities = torch.where(drawn > 0, own, 1 - own).prod(1)
    with torch.no_grad():
        losses = base.position_losses(batch, None, dropout=None, gate=lambda context: masks[:, context.layer, None])
    expected = (probabilities * losses.view(len(masks), -1).mean(1)).sum()
    (gradient,) = torch.autograd.grad(expected, gate.reads.weight)
    return gradient


def test_it_finds_noise_that_it_was_not_shown() -> None:
    log, noise = planted_log(kind="uniform", share=0.2, users=200)
    settings = {"gate": "contextual", "estimator": "hard-concrete", "gate_rate": 1.0, "beta": 0.0}
    model = build(ModelConfig.from_dict({"dim": 16, "length": 28, **settings}), log.sequences.item_count, seed=1)
    training = Training(
        model, log, log, TrainingConfig(epochs=30, validate_every=30, batch_size=50, learning_rate=3e-3),
        seed=1, evaluation_seed=0, device=torch.device("cpu"),
    )  # fmt: skip
    training.run(on_epoch=lambda _: None)
    found = suspicions(model, log.sequences)
    labels = noise[log.sequences.offsets[found.users] + torch.from_numpy(found.positions)]
    assert auroc(torch.from_numpy(found.scores["gate"]), labels) > 0.85


def test_it_tells_how_far_it_is_open_and_that_it_has_collapsed(make_log: MakeLog) -> None:
    log = make_log(lengths=[9, 4, 12, 5])
    model = build(ModelConfig(dim=8, length=6, gate="contextual", gate_logit=1.0), ITEMS, seed=1)
    assert isinstance(model, Denoised)
    assert isinstance(model.gate, ContextualGate)
    untrained = {"gate.mean_keep": 1 / (1 + math.exp(-1)), "gate.open_share": 1.0, "gate.collapsed": 0.0}
    assert model.diagnostics() == pytest.approx(untrained)
    draws = draws_for(log.sequences, seed=0)
    generator = torch.Generator().manual_seed(0)
    (batch,) = model.training_batches(log.sequences, batch_size=4, generator=generator, draws=draws)
    with torch.no_grad():
        model.gate.reads.weight.normal_()
    model.loss(batch, draws)
    cells = logits(model.gate, batch)[batch.visible]
    told = model.diagnostics()
    assert told["gate.mean_keep"] == pytest.approx(float(torch.sigmoid(cells).detach().mean()), abs=1e-5)
    assert told["gate.open_share"] == pytest.approx(float((cells > 0).float().mean()), abs=1e-5)
    with torch.no_grad():
        model.gate.reads.weight.zero_()
        model.gate.constant.fill_(-1.0)
    for _ in range(100):
        model.loss(batch, draws)
    assert model.collapsed()
    assert "0." in model.warnings()[0]
