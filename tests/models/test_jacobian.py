"""The Jacobian term against exact Jacobians."""

from dataclasses import replace

import pytest
import torch

from models.catalogue import build
from models.config import ModelConfig
from models.denoising.denoised import Denoised
from models.denoising.jacobian import JacobianPenalty, Trace, squared_jacobian, traced
from models.engine.batches import Batch, windows
from models.engine.sequences import Sequences
from models.networks.backbone import NextItem
from models.networks.sasrec import SASRec
from tests.models.builders import draws_for
from tests.models.conftest import MakeLog

CONFIG = ModelConfig(dim=4, blocks=2, heads=2, length=4, dropout=0.0, loss="softmax")


def exact(network: SASRec, inputs: torch.Tensor, number: int, size: int) -> float:
    """‖J‖²_F of a block on a window's last `size` positions, by torch.func."""
    batch = windows_of(size)

    def block(cells: torch.Tensor) -> torch.Tensor:
        hidden = torch.zeros(1, 4, 4).index_copy(1, torch.arange(size), cells[None])
        output: torch.Tensor = network.blocks[number](hidden, batch=batch, dropout=None, gate=None)
        return output[0, :size]

    return float(torch.func.jacrev(block)(inputs).detach().square().sum())


def windows_of(*sizes: int) -> Batch:
    """Windows of a user's first events each, all users with the same ones."""
    users = len(sizes)
    offsets = torch.arange(users + 1) * 6
    sequences = Sequences(torch.arange(1, 7).int().repeat(users), offsets, torch.full((users,), 6), 6)
    return windows(sequences, torch.arange(users), torch.tensor(sizes), length=4, with_targets=True)


def test_its_expectation_is_the_exact_squared_norm() -> None:
    """Of every block and of every window of a packed row, within the standard error of many projections."""
    model = build(CONFIG, 6, seed=2)
    assert isinstance(model, NextItem)
    assert isinstance(model.backbone, SASRec)
    sizes = (3, 1, 4)
    expected = 0.0
    for size in sizes:
        trace: Trace = []
        with traced(model.backbone.blocks, trace):
            model.backbone.encode(windows_of(size))
        expected += sum(
            exact(model.backbone, inputs[0, :size].detach(), number, size) for number, (inputs, _) in enumerate(trace)
        )
    packed = windows_of(*sizes)
    assert len(packed.items) == 2
    trace = []
    with traced(model.backbone.blocks, trace):
        model.backbone.encode(packed)
    generator = torch.Generator().manual_seed(0)
    draws = torch.tensor(
        [
            squared_jacobian(trace, packed, normals=lambda *shape: torch.randn(*shape, generator=generator)).item()
            for _ in range(200)
        ]
    )
    assert abs(float(draws.mean()) - expected) < 4 * float(draws.std()) / len(draws) ** 0.5
    assert float(draws.std()) / len(draws) ** 0.5 < 0.05 * expected


def test_it_is_that_of_a_window_however_many_a_batch_has_and_however_often_it_is_passed() -> None:
    """γ weighs the mean over windows; of a pass over several copies of a batch the first counts."""
    model = build(CONFIG, 6, seed=2)
    assert isinstance(model, NextItem)
    normal = torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(3))

    def penalty(batch: Batch, *, copies: int = 1) -> float:
        trace: Trace = []
        with traced(model.backbone.blocks, trace):
            model.backbone.encode(batch.stacked(copies))
        term = JacobianPenalty(0.5)(trace, batch, normals=lambda rows, *_: normal.expand(rows, -1, -1))
        return float(term.detach())

    of_one = penalty(windows_of(4))
    trace: Trace = []
    with traced(model.backbone.blocks, trace):
        model.backbone.encode(windows_of(4))
    estimate = squared_jacobian(trace, windows_of(4), normals=lambda *_: normal)
    assert of_one == pytest.approx(0.5 * float(estimate.detach()))
    assert penalty(windows_of(4, 4, 4)) == pytest.approx(of_one, rel=1e-5)
    assert penalty(windows_of(4, 4), copies=2) == pytest.approx(of_one, rel=1e-5)


def test_it_is_there_in_every_kth_step_as_many_times_as_strong(make_log: MakeLog) -> None:
    log = make_log(lengths=[6, 5], item_count=6)
    batch = windows(log.sequences, torch.arange(2), torch.tensor([4, 3]), length=4, with_targets=True)

    def penalty(every: int, step: int, gamma: float = 0.5) -> float | None:
        model = build(replace(CONFIG, gamma=gamma, jacobian_every=every), 6, seed=2)
        assert isinstance(model, Denoised)
        draws = replace(draws_for(log.sequences, seed=1), step=step)
        loss = model.loss(batch, draws)
        loss.objective().backward()
        assert all(parameter.grad is not None for parameter in model.base.backbone.blocks.parameters())
        term = loss.penalties.get("jacobian")
        return None if term is None else float(term.detach())

    always = penalty(1, 1)
    assert always is not None
    assert penalty(3, 1) is None
    assert penalty(3, 6) == pytest.approx(3 * always)
    assert penalty(1, 1, gamma=2.0) == pytest.approx(4 * always)


def test_descending_it_makes_jacobians_smaller() -> None:
    """A check of the double backward: small steps along the gradient of the term alone lower it."""
    model = build(CONFIG, 6, seed=2)
    assert isinstance(model, NextItem)
    batch = windows_of(4)
    normals = [torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(n)) for n in range(8)]
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    values = []
    for _ in range(10):
        total = torch.zeros(())
        for normal in normals:
            trace: Trace = []
            with traced(model.backbone.blocks, trace):
                model.backbone.encode(batch)
            total = total + squared_jacobian(trace, batch, normals=lambda *_, normal=normal: normal)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        values.append(float(total.detach()))
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.95 * values[0]
