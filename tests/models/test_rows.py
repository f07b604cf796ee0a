"""Our Adam against torch's, to the bit, and its updates of touched rows against lazy Adam as loops over rows."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.catalogue import BACKBONES, LOSSES, build
from models.config import TOUCHED_FROM, ModelConfig, TrainingConfig
from models.engine import rows
from models.engine.adam import Adam
from models.engine.rows import RowTable, WholeTable, by_rows, gathered, gradients_by_rows
from models.engine.training import Epoch, Training
from tests.models.conftest import MakeLog

RATE, BETAS, EPSILON = 0.05, (0.9, 0.98), 1e-8


def table_of(count: int, dim: int) -> nn.Embedding:
    table = nn.Embedding(count, dim)
    nn.init.normal_(table.weight, generator=torch.Generator().manual_seed(0))
    return table


def steps(*, count: int, every: bool) -> list[Tensor]:
    """What each of 12 steps touches, some rows more than once."""
    generator = torch.Generator().manual_seed(1)
    drawn = [torch.randint(count, (5,), generator=generator) for _ in range(12)]
    return [torch.cat([one, torch.arange(count)]) if every else one for one in drawn]


def trained(table: nn.Embedding, optimizer: Adam | torch.optim.Optimizer, touched: list[Tensor]) -> np.ndarray:
    """The table after steps down Σ (row − its number mod 3)², each a row as often as it is touched."""
    for numbers in touched:
        optimizer.zero_grad()
        goal = (numbers % 3).float()[:, None]
        (gathered(table.weight, numbers) - goal).square().sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return table.weight.detach().numpy().copy()


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_whole_parameters_move_as_torchs_adam_moves_them_to_the_bit(decay: float) -> None:
    """With a rate that changes, a group without decay, and a parameter that some steps do not reach."""
    generator = torch.Generator().manual_seed(2)
    ours, theirs = ([nn.Parameter(torch.ones(3, 37) * n) for n in range(1, 4)] for _ in range(2))

    def groups(parameters: list[nn.Parameter]) -> list[dict[str, object]]:
        return [
            {"params": parameters[:2], "lr": RATE, "weight_decay": decay},
            {"params": parameters[2:], "lr": RATE, "weight_decay": 0.0},
        ]

    kind = torch.optim.AdamW if decay else torch.optim.Adam
    reference = kind(groups(theirs), betas=BETAS, fused=True)
    optimizer = Adam(groups(ours), betas=BETAS)
    for number in range(9):
        for place, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            gradient = torch.randn(3, 37, generator=generator)
            one.grad, other.grad = (None, None) if place == number % 3 else (gradient, gradient.clone())
        for each in (optimizer, reference):
            each.param_groups[0]["lr"] = RATE / (1 + number)
            each.step()
        if number == 4:  # what is restored goes on alike
            held, optimizer = optimizer.state_dict(), Adam(groups(ours), betas=BETAS)
            optimizer.load_state_dict(held)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_rows_that_every_step_touches_move_as_adam_moves_them(decay: float) -> None:
    touched = steps(count=7, every=True)
    dense, sparse = table_of(7, 4), table_of(7, 4)
    by_rows(sparse)
    group = {"params": list(sparse.parameters()), "lr": RATE, "weight_decay": decay}
    reference = torch.optim.AdamW(dense.parameters(), lr=RATE, betas=BETAS, weight_decay=decay)
    expected, found = trained(dense, reference, touched), trained(sparse, Adam([group], betas=BETAS), touched)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_other_rows_and_their_moments_stay_until_they_are_touched_again() -> None:
    touched = steps(count=40, every=False)
    table = table_of(40, 4)
    by_rows(table)
    before = table.weight.detach().numpy().copy()
    expected, mean, square = before.astype(float), np.zeros((40, 4)), np.zeros((40, 4))
    for done, numbers in enumerate(touched, start=1):
        for row in set(numbers.tolist()):
            gradient = numbers.tolist().count(row) * 2 * (expected[row] - row % 3)
            mean[row] = BETAS[0] * mean[row] + (1 - BETAS[0]) * gradient
            square[row] = BETAS[1] * square[row] + (1 - BETAS[1]) * gradient**2
            corrected = np.sqrt(square[row] / (1 - BETAS[1] ** done)) + EPSILON
            expected[row] -= RATE * mean[row] / (1 - BETAS[0] ** done) / corrected
    found = trained(table, Adam([{"params": list(table.parameters()), "lr": RATE}], betas=BETAS), touched)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    untouched = sorted(set(range(40)) - set(torch.cat(touched).tolist()))
    assert untouched
    assert (found[untouched] == before[untouched]).all()


def test_clipping_counts_a_row_that_is_touched_twice_once() -> None:
    dense, sparse = table_of(6, 3), table_of(6, 3)
    by_rows(sparse)
    numbers = torch.tensor([1, 4, 1, 2])
    for table in (dense, sparse):
        gathered(table.weight, numbers).square().sum().backward()  # type: ignore[no-untyped-call]
        rows.clip(table.parameters(), 0.5)
    assert dense.weight.grad is not None
    assert sparse.weight.grad is not None
    torch.testing.assert_close(sparse.weight.grad.to_dense(), dense.weight.grad)
    assert float(dense.weight.grad.norm()) == pytest.approx(0.5, rel=1e-4)


def training_of(make_log: MakeLog, model: ModelConfig, **settings: object) -> Training:
    log = make_log(lengths=[5, 6, 9, 4, 8, 7], item_count=400)
    log = replace(log, sequences=replace(log.sequences, times=torch.arange(len(log.sequences.items)) ** 2))
    config = TrainingConfig.from_dict({"batch_size": 2, "epochs": 4, "table_rows": "touched"} | settings)
    built = build(replace(model, dim=8, length=6), 400, seed=1)
    return Training(built, log, log, config, seed=1, evaluation_seed=0, device=torch.device("cpu"))


@pytest.mark.parametrize(
    "model",
    [
        ModelConfig(),
        ModelConfig(loss="bpr", backbone="tisasrec"),
        ModelConfig(loss="gbce", negatives=30),
        ModelConfig(loss="sampled-softmax", negatives=30, robust="truncated"),
        ModelConfig(gate="positional", gamma=1e-3),
    ],
    ids=lambda model: f"{model.backbone}-{model.loss}-{model.gate}",
)
def test_a_step_of_a_sampled_loss_moves_the_rows_that_it_reads_alone(make_log: MakeLog, model: ModelConfig) -> None:
    training = training_of(make_log, model, clip=1.0, weight_decay=0.1)
    table = training.model.item_table()
    before = table.detach().clone()
    (batch, *_) = training.model.training_batches(
        training.log.sequences, batch_size=2, generator=training.order["order"], draws=training.draws
    )
    training.model.loss(batch, training.draws).objective().backward()  # type: ignore[no-untyped-call]
    assert isinstance(table, RowTable)
    assert table.grad is not None
    read, _ = rows.touched(table.grad)
    training._step()
    moved = (table.detach() != before).any(1).nonzero().squeeze(1)
    assert 0 < len(moved) <= len(read) < 300
    assert set(moved.tolist()) <= set(read.tolist())
    assert not bool(table.detach()[0].any())


def test_a_training_that_was_interrupted_goes_on_to_the_same_bits(make_log: MakeLog, tmp_path: Path) -> None:
    whole, begun, resumed = (training_of(make_log, ModelConfig(), decay=0.5) for _ in range(3))
    whole.run(checkpoint=None, on_epoch=lambda _: None)

    def interrupt(epoch: Epoch) -> None:
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begun.run(checkpoint=tmp_path / "checkpoint.pt", on_epoch=interrupt)
    resumed.run(checkpoint=tmp_path / "checkpoint.pt", on_epoch=lambda _: None)
    assert resumed.progress.epoch == 4
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_small_catalogues_and_losses_over_every_item_are_trained_by_adam(make_log: MakeLog) -> None:
    auto = TrainingConfig()
    assert not auto.touches_rows(TOUCHED_FROM - 1, possible=True)
    assert auto.touches_rows(TOUCHED_FROM, possible=True)
    assert not auto.touches_rows(TOUCHED_FROM, possible=False)
    assert not TrainingConfig(table_rows="all").touches_rows(TOUCHED_FROM, possible=True)
    assert not training_of(make_log, ModelConfig(), table_rows="auto").touches_rows
    for model in (ModelConfig(loss="softmax"), ModelConfig(backbone="bert4rec")):
        assert not training_of(make_log, model, table_rows="auto").touches_rows
        with pytest.raises(ValueError, match="reads the whole item table"):
            training_of(make_log, model)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("loss", LOSSES)
def test_the_configuration_knows_which_models_read_the_whole_table(backbone: str, loss: str) -> None:
    config = ModelConfig(backbone=backbone, loss=loss, dim=4, length=4)
    assert bool(build(config, 9, seed=1, user_count=3).row_tables()) != config.reads_whole_table


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_a_table_with_gradients_by_rows_moves_whole_as_torchs_adam_moves_it(decay: float) -> None:
    """Rows that a step does not touch move, too, and those that it touches twice have both gradients."""
    kind = torch.optim.AdamW if decay else torch.optim.Adam
    ours, theirs = table_of(9, 5), table_of(9, 5)
    gradients_by_rows(ours)
    optimizer = Adam([{"params": [ours.weight], "lr": RATE, "weight_decay": decay}], betas=BETAS)
    touched = steps(count=9, every=False)
    expected = trained(theirs, kind([theirs.weight], lr=RATE, weight_decay=decay, betas=BETAS), touched)
    np.testing.assert_allclose(trained(ours, optimizer, touched), expected, rtol=1e-5, atol=1e-6)


def test_a_step_that_looks_up_few_of_many_items_is_that_of_a_dense_gradient(
    make_log: MakeLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights, moments and validation, with clipping, after steps of which each looks up a tenth of the catalogue."""
    log = make_log(lengths=[6] * 20, item_count=2000)
    model = ModelConfig(dim=8, heads=1, blocks=1, length=5)

    def after_steps() -> Training:
        settings = TrainingConfig(batch_size=10, clip=0.5)
        built = build(model, 2000, seed=1)
        training = Training(built, log, log, settings, seed=1, evaluation_seed=0, device=torch.device("cpu"))
        for _ in range(3):
            training.train_epoch()
        return training

    by_rows_of_gradient = after_steps()
    monkeypatch.setattr("models.engine.training.LOOKED_UP_MANY", 10**9)
    dense = after_steps()
    kinds = [type(each.model.item_table()) for each in (by_rows_of_gradient, dense)]
    assert kinds == [WholeTable, nn.Parameter]
    assert [each.touches_rows for each in (by_rows_of_gradient, dense)] == [False, False]
    for one, other in zip(by_rows_of_gradient.model.parameters(), dense.model.parameters(), strict=True):
        torch.testing.assert_close(one.detach(), other.detach(), rtol=1e-4, atol=1e-6)
    for mine, its in zip(*(each.optimizer.state_dict()["state"] for each in (by_rows_of_gradient, dense)), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-7)
