"""The blocked cross-entropy against torch's own, and its gradients against differences."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.engine import cross_entropy as module
from models.engine.cross_entropy import cross_entropy


@pytest.fixture(params=[1, 64, 2**20])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of one position, of some with a shorter last one, and of all."""
    monkeypatch.setattr(module, "CELLS_OF_A_BLOCK", request.param)
    monkeypatch.setattr(module, "LEAST_ROWS", 1)


def drawn(dtype: torch.dtype, *, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = (torch.randn(23, 5, generator=generator, dtype=dtype) * scale).requires_grad_()
    table = torch.randn(18, 5, generator=generator, dtype=dtype).requires_grad_()
    return hidden, table, torch.randint(1, 18, (23,), generator=generator)


def torchs(hidden: Tensor, table: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(hidden @ table[1:].T, targets - 1, reduction="none")


WEIGHTS: dict[str, Callable[[int], Tensor]] = {
    "a mean": lambda n: torch.full((n,), 1 / n),
    "weights of their own": lambda n: torch.linspace(-0.5, 2, n),
    "some left out": lambda n: (torch.arange(n) % 3 > 0).float(),
}


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_it_is_torchs_cross_entropy(weights: str, dtype: torch.dtype, tolerance: float) -> None:
    hidden, table, targets = drawn(dtype)
    ours, plain = cross_entropy(hidden, table, targets), torchs(hidden, table, targets)
    torch.testing.assert_close(ours, plain, rtol=tolerance, atol=tolerance)
    of_positions = WEIGHTS[weights](len(targets)).to(dtype)
    gradients = [torch.autograd.grad((losses * of_positions).sum(), [hidden, table]) for losses in (ours, plain)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)
    assert not bool(gradients[0][1][0].any()), "padding has no gradient"


def test_its_gradients_are_those_of_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CELLS_OF_A_BLOCK", 64)
    monkeypatch.setattr(module, "LEAST_ROWS", 1)
    leaves = drawn(torch.float64)
    few = [leaves[0][:7].detach().requires_grad_(), leaves[1], leaves[2][:7]]
    assert torch.autograd.gradcheck(cross_entropy, few)
    assert torch.autograd.gradcheck(lambda *inputs: cross_entropy(*inputs).mean(), few)


@pytest.mark.usefixtures("block")
def test_without_a_gradient_the_losses_are_the_same_to_the_bit() -> None:
    hidden, table, targets = drawn(torch.float32)
    with torch.no_grad():
        alone = cross_entropy(hidden, table, targets)
    assert torch.equal(alone, cross_entropy(hidden, table, targets).detach())


@pytest.mark.usefixtures("block")
def test_scores_beyond_what_an_exponential_holds_stay_numbers() -> None:
    hidden, table, targets = drawn(torch.float32, scale=1e4)
    losses = cross_entropy(hidden, table, targets)
    torch.testing.assert_close(losses, torchs(hidden, table, targets), rtol=1e-6, atol=1e-2)
    assert all(bool(gradient.isfinite().all()) for gradient in torch.autograd.grad(losses.mean(), [hidden, table]))


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("weights", WEIGHTS)
def test_under_autocast_its_products_are_rounded_and_its_gradients_are_not(weights: str) -> None:
    hidden, table, targets = drawn(torch.float32)
    of_positions = WEIGHTS[weights](len(targets))
    plain = torchs(hidden, table, targets)
    with torch.autocast("cpu", torch.bfloat16):
        ours = cross_entropy(hidden, table, targets)
        with torch.no_grad():
            assert torch.equal(cross_entropy(hidden, table, targets), ours)
    torch.testing.assert_close(ours, plain, rtol=0, atol=0.05)
    assert not torch.equal(ours, plain)
    gradients = [torch.autograd.grad((losses * of_positions).sum(), [hidden, table]) for losses in (ours, plain)]
    for one, other in zip(*gradients, strict=True):
        assert one.dtype == torch.float32
        assert float((one - other).norm() / other.norm()) < 0.01


def test_no_positions_cost_nothing() -> None:
    hidden, table, targets = drawn(torch.float32)
    losses = cross_entropy(hidden[:0], table, targets[:0])
    assert losses.shape == (0,)
    assert not bool(torch.autograd.grad(losses.sum(), table)[0].any())
