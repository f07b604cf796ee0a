"""Estimators: exact gradients by enumeration, how much noisier one is than another, what each mask is made of."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from models.catalogue import ESTIMATORS, build
from models.denoising.denoised import Denoised
from models.denoising.estimators import Ar, Arm, BatchCredit, Estimator, Reinforce, TokenCredit
from models.denoising.gates import PositionalGate
from models.engine.batches import Batch, windows
from models.engine.sequences import InteractionLog
from models.networks.attention import AttentionMask, GateContext
from models.networks.backbone import NextItem
from tests.models.builders import TINY, draws_for, repeated, tiny_model
from tests.models.conftest import MakeLog

UNBIASED: dict[str, Callable[[], Estimator]] = {
    "arm": lambda: ESTIMATORS["arm"](TINY),
    "arm-per-token": lambda: ESTIMATORS["arm-per-token"](TINY),
    "ar": lambda: ESTIMATORS["ar"](TINY),
    "ar-per-token": lambda: Ar(TokenCredit()),
    "reinforce": lambda: ESTIMATORS["reinforce"](TINY),
    "reinforce-per-token": lambda: Reinforce(TokenCredit()),
}
CAUSAL = torch.ones(3, 3).tril().bool().expand(2, 3, 3)


def exact_gradient(base: NextItem, gate: PositionalGate, batch: Batch) -> Tensor:
    """∇Φ of the expected loss, by summing over every mask of the visible cells.

    `batch` holds the same window once for every mask.
    """
    layers, length = gate.phi.shape[:2]
    cells = torch.tensor([(layer, *pair) for layer in range(layers) for pair in batch.visible[0].nonzero().tolist()])
    bits = torch.tensor(list(itertools.product((0.0, 1.0), repeat=len(cells))))
    masks = torch.zeros(len(bits), layers, length, length)
    masks[:, cells[:, 0], cells[:, 1], cells[:, 2]] = bits
    keep = torch.sigmoid(gate.phi.detach())[tuple(cells.T)].double()
    probabilities = torch.where(bits > 0, keep, 1 - keep).prod(1)
    with torch.no_grad():
        losses = base.position_losses(batch, None, dropout=None, gate=lambda context: masks[:, context.layer, None])
    means = losses.view(len(bits), -1).mean(1).double()
    gradient = torch.zeros_like(gate.phi, dtype=torch.float64)
    gradient[tuple(cells.T)] = ((probabilities * means)[:, None] * (bits - keep)).sum(0)
    return gradient


def some_gate(length: int = 3) -> PositionalGate:
    gate = PositionalGate(layers=2, length=length, initial_logit=0.4)
    with torch.no_grad():
        gate.phi.add_(torch.randn(gate.phi.shape, generator=torch.Generator().manual_seed(3)))
    return gate


def sampled_gradients(
    base: NextItem, gate: PositionalGate, estimator: Estimator, log: InteractionLog, *, windows_each: int, draws: int
) -> Tensor:
    """[draws, layers, length, length]: the estimator's gradients on batches of one window, so many times over."""
    model = Denoised(base, gate, estimator)
    batch, random = repeated(log, windows_each), draws_for(log.sequences, seed=0)
    gradients = []
    for _ in range(draws):
        (gradient,) = torch.autograd.grad(model.loss(batch, random).surrogates["gate"], gate.phi)
        gradients.append(gradient)
    return torch.stack(gradients)


@pytest.mark.parametrize("name", UNBIASED)
def test_its_mean_is_the_exact_gradient(make_log: MakeLog, name: str) -> None:
    """In every cell, within the standard error of many draws; where no cell is visible there is no gradient."""
    log = make_log(lengths=[6], item_count=5)
    base, gate = tiny_model(5), some_gate()
    exact = exact_gradient(base, gate, repeated(log, 2**12))
    by_token = name.endswith("per-token")
    estimates = sampled_gradients(
        base, gate, UNBIASED[name](), log, windows_each=400 if by_token else 1, draws=30 if by_token else 350
    )
    if name.startswith("reinforce"):
        estimates = estimates[1:]
    error = (estimates.mean(0) - exact).abs()[CAUSAL]
    standard = (estimates.std(0) / len(estimates) ** 0.5)[CAUSAL]
    assert (error <= 4.0 * standard + 1e-7).all(), (error / standard).max()
    assert (estimates[:, ~CAUSAL] == 0).all()
    if name not in ("ar", "reinforce"):
        assert exact.abs().max() > 8 * standard.mean(), "the test could not tell a wrong gradient"


@pytest.mark.parametrize("name", ["ar", "reinforce"])
def test_the_noisiest_are_exact_mask_by_mask(make_log: MakeLog, name: str) -> None:
    """Their spread hides a wrong gradient from as many draws as a test can make. Given a mask, both are linear in what
    is left to chance, U, whose mean is known: that of the part of (0, 1) in which it gives the mask.
    """
    log = make_log(lengths=[6], item_count=5)
    base, gate = tiny_model(5, length=2), some_gate(length=2)
    seen = torch.ones(2, 2).tril().bool()
    exact = exact_gradient(base, gate, repeated(log, 2**6, length=2))
    keep = torch.sigmoid(gate.phi.detach())
    single = repeated(log, 1, length=2)
    total = torch.zeros_like(exact)
    for bits in itertools.product((0.0, 1.0), repeat=6):
        mask = torch.zeros(2, 2, 2)
        mask[:, seen] = torch.tensor(bits).view(2, 3)
        given = iter(torch.where(mask > 0, keep / 2, (1 + keep) / 2))
        estimate = UNBIASED[name]()(
            lambda masks: [base.position_losses(single, None, dropout=None, gate=masks[0])],
            gate,
            single,
            uniforms=lambda *_, given=given: next(given),
            layers=2,
        )
        assert estimate.surrogate is not None
        (gradient,) = torch.autograd.grad(estimate.surrogate, gate.phi)
        probability = torch.where(mask > 0, keep, 1 - keep)[:, seen].prod()
        total += probability * gradient
    torch.testing.assert_close(total, exact, rtol=1e-4, atol=1e-7)
    assert exact[:, seen].abs().min() > 1e-6


@pytest.mark.parametrize("estimator", [Arm(BatchCredit()), Arm(TokenCredit())], ids=["batch", "token"])
def test_both_credits_are_exact_where_attention_goes_both_ways(make_log: MakeLog, estimator: Arm) -> None:
    """BERT4Rec, two layers: a cell of the lower one reaches the losses before its row too."""
    log = make_log(lengths=[6], item_count=5)
    base = build(replace(TINY, backbone="bert4rec", length=2), 5, seed=2)
    assert isinstance(base, NextItem)
    with torch.no_grad():
        for parameter in base.parameters():
            parameter.mul_(30 if parameter.dim() > 1 else 1)
    gate = some_gate(length=2)
    batch = replace(repeated(log, 2**8, length=2), bidirectional=True)
    exact = exact_gradient(base, gate, batch)
    model, random, gradients = Denoised(base, gate, estimator), draws_for(log.sequences, seed=0), []
    single = replace(repeated(log, 1, length=2), bidirectional=True)
    by_token = isinstance(estimator.credit, TokenCredit)
    for _ in range(60 if by_token else 400):
        loss = model.loss(batch if by_token else single, random)
        gradients += torch.autograd.grad(loss.surrogates["gate"], gate.phi)
    estimates = torch.stack(gradients)
    error, standard = (estimates.mean(0) - exact).abs(), estimates.std(0) / len(estimates) ** 0.5
    assert (error <= 4.0 * standard + 1e-7).all(), (error / standard).max()
    assert exact[0].abs().max() > 8 * standard.mean(), "the test could not tell a wrong gradient"


def test_ar_is_an_order_of_magnitude_noisier_than_arm_and_credit_by_token_quieter(make_log: MakeLog) -> None:
    """Total variance over the visible cells, on batches of one window, for which both credits draw alike."""
    log = make_log(lengths=[6], item_count=5)
    base, gate = tiny_model(5), some_gate()
    variance = {
        name: float(
            sampled_gradients(base, gate, UNBIASED[name](), log, windows_each=1, draws=120)[:, CAUSAL].var(0).sum()
        )
        for name in ("arm", "arm-per-token", "ar", "reinforce")
    }
    print({name: round(value / variance["arm-per-token"], 1) for name, value in variance.items()})
    assert variance["ar"] > 10 * variance["arm"]
    assert variance["reinforce"] < variance["ar"]
    assert variance["arm-per-token"] < 0.8 * variance["arm"]


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_token_answers_for_its_own_loss_in_the_last_layer_and_below_for_those_that_see_it(
    make_log: MakeLog, *, bidirectional: bool
) -> None:
    """In two windows of a row: nothing of a neighbour, and of a mean over both."""
    log = make_log(lengths=[6, 6])
    stops = torch.tensor([3, 2])
    batch = windows(log.sequences, torch.arange(2), stops, length=5, with_targets=False)
    batch = replace(batch, bidirectional=bidirectional)
    assert len(batch.items) == 1
    losses, gate = torch.tensor([1.0, 10.0, 100.0, 1000.0, 10000.0]), some_gate(length=5)
    of_own, of_seeing = (TokenCredit().weights(losses, gate, batch, last=last)[0, 0] for last in (True, False))
    grid = batch.grid(losses)[0]
    for query, key in itertools.product(range(5), repeat=2):
        seen = bool(batch.visible[0, query, key])
        seeing = [loss for later, loss in enumerate(grid) if batch.visible[0, later, query]]
        assert float(of_own[query, key]) == pytest.approx(float(grid[query]) / 5 if seen else 0.0)
        assert float(of_seeing[query, key]) == pytest.approx(float(sum(seeing)) / 5 if seen else 0.0)


def test_reinforce_takes_its_baseline_from_earlier_steps_and_keeps_it_with_the_weights(make_log: MakeLog) -> None:
    """What a mask is weighed by is its loss less that baseline."""
    log = make_log(lengths=[6], item_count=5)
    estimator, gate = Reinforce(BatchCredit()), some_gate()
    model = Denoised(tiny_model(5), gate, estimator)
    random = draws_for(log.sequences, seed=0)
    means = [float(model.loss(repeated(log, 1), random).data_term().detach()) for _ in range(3)]
    expected = sum(0.1 * 0.9**age * mean for age, mean in enumerate(reversed(means))) / sum(
        0.1 * 0.9**age for age in range(3)
    )
    assert float(estimator.total / estimator.weight) == pytest.approx(expected, rel=1e-5)
    assert {"estimator.total", "estimator.weight"} <= model.state_dict().keys()

    loss, again = model.loss(repeated(log, 1), draws_for(log.sequences, seed=5)), draws_for(log.sequences, seed=5)
    (gradient,) = torch.autograd.grad(loss.surrogates["gate"], gate.phi)
    keep = torch.sigmoid(gate.phi.detach())
    mask = torch.stack([(again.uniforms(3, 3) < of_layer).float() for of_layer in keep])
    advantage = float(loss.data_term().detach()) - expected
    torch.testing.assert_close(gradient, torch.where(CAUSAL, advantage * (mask - keep), 0.0), rtol=1e-4, atol=1e-7)


def test_hard_concrete_masks_are_the_formula_of_their_draws_and_open_as_often_as_the_penalty_says(
    make_log: MakeLog,
) -> None:
    """Louizos et al., eq. 10 to 12, with their constants; the gradient, too, is that of the formula."""
    log = make_log(lengths=[6], item_count=5)
    gate, batch = some_gate(), repeated(log, 40_000)
    estimator = ESTIMATORS["hard-concrete"](TINY)
    drawn: list[Tensor] = []

    def evaluate(masks: Sequence[AttentionMask | None]) -> list[Tensor]:
        (mask,) = masks
        assert mask is not None
        nothing = torch.zeros(0)
        drawn.extend(mask(GateContext(nothing, nothing, nothing, batch, layer)) for layer in range(2))
        return [nothing]

    assert (
        estimator(evaluate, gate, batch, uniforms=draws_for(log.sequences, seed=0).uniforms, layers=2).surrogate is None
    )
    again = draws_for(log.sequences, seed=0)
    for layer, ours in enumerate(drawn):
        uniform = again.uniforms(*ours.shape)
        stretched = 1.2 * torch.sigmoid((uniform.log() - (1 - uniform).log() + gate.phi[layer]) * 3 / 2) - 0.1
        expected = stretched.clamp(0, 1)
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
        gradients = [torch.autograd.grad(masks.mean(), gate.phi, retain_graph=True)[0] for masks in (ours, expected)]
        torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-7)
        assert 0.1 < float(((ours > 0) & (ours < 1)).float().mean()) < 0.9
        opened = (ours > 0).float().mean((0, 1))
        torch.testing.assert_close(opened, estimator.keep(gate.phi[layer]).detach(), rtol=0, atol=0.012)
    logits = torch.tensor([-9.0, -1.0, 0.0, 1.0, 9.0])
    expected = torch.tensor([0.0, 1.2 * 0.2689414 - 0.1, 0.5, 1.2 * 0.7310586 - 0.1, 1.0])
    torch.testing.assert_close(estimator.inference(logits), expected)


@pytest.mark.parametrize("name", ["straight-through", "hard-concrete"])
def test_gradients_of_single_pass_masks_reach_visible_cells_only(make_log: MakeLog, name: str) -> None:
    log = make_log(lengths=[6], item_count=5)
    gate = some_gate()
    model = Denoised(tiny_model(5), gate, ESTIMATORS[name](TINY))
    model.loss(repeated(log, 50), draws_for(log.sequences, seed=0)).objective().backward()
    assert gate.phi.grad is not None
    assert (gate.phi.grad[:, ~CAUSAL[0]] == 0).all()
    assert (gate.phi.grad[CAUSAL] != 0).sum() >= 10


def test_straight_through_gives_the_gradient_of_the_soft_mask_at_the_drawn_one(make_log: MakeLog) -> None:
    log = make_log(lengths=[6], item_count=5)
    base, gate = tiny_model(5), some_gate()
    batch = repeated(log, 1)
    model = Denoised(base, gate, ESTIMATORS["straight-through"](TINY))
    model.loss(batch, draws_for(log.sequences, seed=0)).objective().backward()
    keep = torch.sigmoid(gate.phi.detach())
    again = draws_for(log.sequences, seed=0)
    drawn = torch.stack([(again.uniforms(1, 1, 3, 3)[0, 0] < keep[layer]).float() for layer in range(2)])
    drawn.requires_grad_()
    base.position_losses(
        batch, None, dropout=None, gate=lambda context: drawn[context.layer][None, None]
    ).mean().backward()
    assert drawn.grad is not None
    torch.testing.assert_close(gate.phi.grad, drawn.grad * keep * (1 - keep))
