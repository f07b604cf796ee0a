"""Estimators: exact gradients by enumeration, how much noisier one is than another, what each mask is made of."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from models.catalogue import ESTIMATORS, build
from models.denoising.denoised import Denoised
from models.denoising.estimators import Ar, Arm, BatchCredit, Estimator, HardConcrete, Reinforce, TokenCredit
from models.denoising.gates import PositionalGate
from models.engine.batches import Batch
from models.engine.sequences import InteractionLog
from models.networks.backbone import NextItem
from tests.models.builders import TINY, draws_for, repeated, tiny_model
from tests.models.conftest import MakeLog

UNBIASED: dict[str, Callable[[], Estimator]] = {
    "arm": lambda: Arm(BatchCredit()),
    "arm-per-token": lambda: Arm(TokenCredit()),
    "ar": lambda: Ar(BatchCredit()),
    "ar-per-token": lambda: Ar(TokenCredit()),
    "reinforce": lambda: Reinforce(BatchCredit()),
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


def test_reinforce_takes_its_baseline_from_earlier_steps_and_keeps_it_with_the_weights(make_log: MakeLog) -> None:
    log = make_log(lengths=[6], item_count=5)
    estimator = Reinforce(BatchCredit())
    model = Denoised(tiny_model(5), some_gate(), estimator)
    random = draws_for(log.sequences, seed=0)
    means = [float(model.loss(repeated(log, 1), random).data_term().detach()) for _ in range(3)]
    expected = sum(0.1 * 0.9**age * mean for age, mean in enumerate(reversed(means))) / sum(
        0.1 * 0.9**age for age in range(3)
    )
    assert float(estimator.total / estimator.weight) == pytest.approx(expected, rel=1e-5)
    assert {"estimator.total", "estimator.weight"} <= model.state_dict().keys()


def test_hard_concrete_opens_cells_as_often_as_its_penalty_says() -> None:
    estimator = HardConcrete()
    logits = torch.tensor([-2.0, 0.0, 1.5])
    uniforms = torch.rand(200_000, 3, generator=torch.Generator().manual_seed(0)).clamp(1e-6, 1 - 1e-6)
    soft = torch.sigmoid((torch.logit(uniforms) + logits) / estimator.temperature)
    drawn = (soft * (estimator.high - estimator.low) + estimator.low).clamp(0, 1)
    torch.testing.assert_close((drawn > 0).float().mean(0), estimator.keep(logits), rtol=0, atol=0.004)
    assert estimator.inference(torch.tensor([-9.0, 9.0])).tolist() == [0.0, 1.0]


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
