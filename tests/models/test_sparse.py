"""Sparse attention: the fixed pattern against one written by hand, α-entmax against closed forms and differences."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor

from models.catalogue import build
from models.config import ModelConfig
from models.denoising.controls import Controlled
from models.denoising.sparse import AdaptivelySparse, FixedPattern, alpha_entmax
from models.engine.batches import Batch, windows
from models.networks.attention import GateContext
from models.serving import CATALOGUE_FILE, Server
from models.storage import load_model, save_model
from tests.models.builders import draws_for
from tests.models.conftest import MakeLog

GATES = ("sparse-transformer", "alpha-entmax")


def windows_of(make_log: MakeLog, *sizes: int, length: int) -> Batch:
    log = make_log(lengths=[size + 2 for size in sizes])
    return windows(log.sequences, torch.arange(len(sizes)), torch.tensor(sizes), length=length, with_targets=False)


def softmax_over(scores: Tensor, batch: Batch) -> GateContext:
    attention = torch.softmax(scores + batch.attention_bias, dim=-1)
    return GateContext(q=scores, k=scores, attention=attention, batch=batch, layer=0)


def test_the_fixed_pattern_is_the_one_written_by_hand(make_log: MakeLog) -> None:
    """Blocks of three, of which later ones see the last position; and the softmax is over what is seen alone."""
    pattern = torch.tensor(
        [
            [1, 0, 0, 0, 0, 0, 0],
            [1, 1, 0, 0, 0, 0, 0],
            [1, 1, 1, 0, 0, 0, 0],
            [0, 0, 1, 1, 0, 0, 0],
            [0, 0, 1, 1, 1, 0, 0],
            [0, 0, 1, 1, 1, 1, 0],
            [0, 0, 1, 0, 0, 1, 1],
        ]
    ).bool()
    batch = windows_of(make_log, 7, length=7)
    scores = torch.randn(1, 2, 7, 7, generator=torch.Generator().manual_seed(0))
    context = softmax_over(scores, batch)
    masked = context.attention * FixedPattern(stride=3, width=1).in_use(context)
    torch.testing.assert_close(masked, torch.softmax(scores.masked_fill(~pattern, -torch.inf), -1))
    wide = context.attention * FixedPattern(stride=3, width=3).in_use(context)
    torch.testing.assert_close(wide, context.attention)


def test_the_pattern_is_that_of_a_windows_own_positions(make_log: MakeLog) -> None:
    """A short window stands at the right end of its positions, wherever it lies in a row."""
    batch = windows_of(make_log, 3, 4, length=7)
    assert batch.items.shape == (1, 7)
    context = softmax_over(torch.zeros(1, 1, 7, 7), batch)
    seen = (context.attention * FixedPattern(stride=3, width=1).in_use(context))[0, 0] > 0
    assert batch.positions[0].tolist() == [3, 4, 5, 6, 4, 5, 6]
    assert seen[4:, 4:].tolist() == [[1, 0, 0], [1, 1, 0], [0, 1, 1]]
    assert not (seen & ~batch.visible[0]).any()


def test_entmax_is_the_sparsemax_at_2_and_the_softmax_near_1() -> None:
    scores = 2 * torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(alpha_entmax(scores, torch.tensor(2.0)), sparsemax(scores), rtol=0, atol=1e-5)
    near = alpha_entmax(scores.double(), torch.tensor(1.0001).double())
    torch.testing.assert_close(near, torch.softmax(scores.double(), -1), rtol=0, atol=1e-3)
    zeros = [int((alpha_entmax(scores, torch.tensor(alpha)) == 0).sum()) for alpha in (1.1, 1.5, 2.0)]
    assert zeros == sorted(zeros)
    assert zeros[1] > 100


def test_entmax_gives_hidden_cells_nothing_and_a_hidden_row_zeros() -> None:
    scores = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    scores[0, 2:] = -torch.inf
    scores[1] = -torch.inf
    scores.requires_grad_()
    alpha = torch.full((3, 1), 1.4, requires_grad=True)
    shares = alpha_entmax(scores, alpha)
    assert (shares[0, 2:] == 0).all()
    assert (shares[1] == 0).all()
    torch.testing.assert_close(shares[0, :2], alpha_entmax(scores[0, :2], torch.tensor(1.4)))
    for gradient in torch.autograd.grad(shares.square().sum(), [scores, alpha]):
        assert torch.isfinite(gradient).all()


def test_the_gradient_of_alpha_is_that_of_finite_differences(make_log: MakeLog) -> None:
    """Of each head's logit, through the factors on the softmax."""
    batch = windows_of(make_log, 6, 4, length=6)
    generator = torch.Generator().manual_seed(2)
    scores = torch.randn(len(batch.items), 2, 6, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(scores.shape, generator=generator, dtype=torch.float64)
    control = AdaptivelySparse(layers=1, heads=2, alpha=1.4).double()

    def value(logits: Tensor, scores: Tensor) -> Tensor:
        control.logits.data = logits
        context = softmax_over(scores, batch)
        return (context.attention * control.in_use(context) * weights).sum()

    start = control.logits.detach().clone()
    ours, of_scores = torch.autograd.grad(value(start, scores), [control.logits, scores])
    for head in range(2):
        step = torch.zeros_like(start)
        step[0, head] = 1e-4
        difference = (value(start + step, scores) - value(start - step, scores)) / 2e-4
        assert float(ours[0, head]) == pytest.approx(float(difference.detach()), rel=1e-3, abs=1e-6)
    where = (0, 1, 5, 2)
    step = torch.zeros_like(scores)
    step[where] = 1e-4
    difference = (value(start, scores + step) - value(start, scores - step)) / 2e-4
    assert float(of_scores[where]) == pytest.approx(float(difference.detach()), rel=1e-3, abs=1e-6)


def test_each_head_of_each_layer_has_an_alpha_of_its_own_which_is_learned(make_log: MakeLog) -> None:
    model = build(ModelConfig(dim=8, length=6, gate="alpha-entmax", attention_alpha=1.4), 30, seed=1)
    assert isinstance(model, Controlled)
    assert isinstance(model.control, AdaptivelySparse)
    logits = model.control.logits
    torch.testing.assert_close(model.control.alphas(), torch.full((2, 2), 1.4))
    log = make_log(lengths=[8, 6])
    batch = windows(log.sequences, torch.arange(2), torch.tensor([6, 4]), length=6, with_targets=True)
    optimizer = torch.optim.Adam(model.parameter_groups(0.1))
    before = logits.detach().clone()
    model.loss(batch, draws_for(log.sequences)).objective().backward()
    optimizer.step()
    assert (logits.detach() != before).all()
    with torch.no_grad():
        logits.copy_(torch.tensor([[-2.0, 0.0], [1.0, 3.0]]))
    scores = torch.randn(len(batch.items), 2, 6, 6, generator=torch.Generator().manual_seed(3))
    for layer, alphas in enumerate(model.control.alphas().detach()):
        context = replace(softmax_over(scores, batch), layer=layer)
        masked = context.attention * model.control.in_use(context)
        seen = scores.masked_fill(~batch.visible[:, None], -torch.inf)
        for head, alpha in enumerate(alphas):
            mine = alpha_entmax(seen[:, head], alpha)[batch.segments > 0]
            torch.testing.assert_close(masked[:, head][batch.segments > 0].detach(), mine, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("gate", GATES)
def test_neighbours_in_a_row_later_events_and_padding_change_nothing(make_log: MakeLog, gate: str) -> None:
    model = build(ModelConfig(dim=8, length=9, gate=gate, sparse_stride=3, sparse_width=1), 30, seed=3).eval()
    log = make_log(lengths=[6, 5])

    def query(users: list[int], stops: list[int]) -> Tensor:
        batch = windows(log.sequences, torch.tensor(users), torch.tensor(stops), length=9, with_targets=False)
        return model.query(batch)[0]

    alone = query([0], [4])
    torch.testing.assert_close(query([0, 1], [4, 5]), alone, rtol=1e-5, atol=1e-6)
    log.sequences.items[4:] = 1
    assert torch.equal(query([0], [4]), alone)


@pytest.mark.parametrize("backbone", ["sasrec", "bert4rec"])
@pytest.mark.parametrize("gate", GATES)
def test_it_is_served_as_it_was_saved(tmp_path: Path, backbone: str, gate: str) -> None:
    config = ModelConfig(backbone=backbone, dim=8, length=6, gate=gate)
    model = build(config, 12, seed=1)
    save_model(model, config, tmp_path, item_count=12)
    loaded = load_model(tmp_path)
    assert isinstance(loaded, Controlled)
    assert {name: value.tolist() for name, value in model.state_dict().items()} == {
        name: value.tolist() for name, value in loaded.state_dict().items()
    }
    catalogue = {"ids": [f"i{number}" for number in range(1, 13)], "popularity": [1.0] * 12}
    (tmp_path / CATALOGUE_FILE).write_text(pd.Series(catalogue).to_json(), encoding="utf-8")
    server = Server()
    server.load(tmp_path)
    served = server.predict(None, pd.DataFrame({"history": [["i3", "i5"], []]}), {"k": 4})
    assert [len(items) for items in served["items"]] == [4, 4]
    assert list(served["basis"]) == ["history", "popularity"]


def sparsemax(scores: Tensor) -> Tensor:
    """By its own closed form (Martins & Astudillo 2016, algorithm 1)."""
    ordered = scores.sort(dim=-1, descending=True).values
    sums = ordered.cumsum(-1) - 1
    numbers = torch.arange(1, scores.shape[-1] + 1)
    support = (ordered * numbers > sums).sum(-1, keepdim=True)
    return (scores - sums.gather(-1, support - 1) / support).clamp(min=0)
