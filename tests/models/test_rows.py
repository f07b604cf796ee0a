"""Our Adam against torch's: whole parameters to the bit, tables of which it moves the rows that are read up to ε; and
gradients that are added up in place against autograd's.
"""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.catalogue import BACKBONES, LOSSES, build
from models.config import TOUCHED_FROM, ModelConfig, TrainingConfig
from models.engine import adam, rows
from models.engine import training as training_loop
from models.engine.adam import LONGEST_WAIT, Adam
from models.engine.rows import InPlaceTable, RowTable, by_rows, gathered, in_place
from models.engine.training import Epoch, Training
from models.networks.backbone import Backbone
from tests.models.conftest import MakeLog

RATE, BETAS = 0.05, (0.9, 0.98)
SAMPLED = [
    ModelConfig(),
    ModelConfig(loss="bpr", backbone="tisasrec"),
    ModelConfig(loss="gbce", negatives=30),
    ModelConfig(loss="sampled-softmax", negatives=30, robust="truncated"),
    ModelConfig(gate="positional", gamma=1e-3),
]


@pytest.fixture(params=["rows-that-wait", "all-that-are-read"], autouse=True)
def caught_up(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which rows catch up when some are read: as on a CPU, or as on a GPU."""
    if request.param == "all-that-are-read":
        monkeypatch.setattr(adam, "NOT_WAITED_FOR", ("cpu",))


def table_of(count: int, dim: int) -> nn.Embedding:
    table = nn.Embedding(count, dim)
    nn.init.normal_(table.weight, generator=torch.Generator().manual_seed(0))
    return table


def steps(number: int, *, count: int, each: int) -> list[Tensor]:
    """What each of so many steps touches of `count` rows behind the first, some more than once."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(1, count, (each,), generator=generator) for _ in range(number)]


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
@pytest.mark.parametrize(("number", "count", "each"), [(300, 60, 5), (LONGEST_WAIT + 200, 400, 1)])
def test_rows_that_wait_end_where_torchs_adam_has_moved_them(decay: float, number: int, count: int, each: int) -> None:
    """With a rate that falls; in the second case longer than any row may wait. Weights and both moments, in float64."""
    touched = steps(number, count=count, each=each)
    whole, by_row = table_of(count, 4).double(), table_of(count, 4).double()
    by_rows(by_row)
    reference = torch.optim.AdamW(whole.parameters(), lr=RATE, betas=BETAS, weight_decay=decay)
    group = {"params": list(by_row.parameters()), "lr": RATE, "weight_decay": decay}
    ours = Adam([group], betas=BETAS)
    for done, numbers in enumerate(touched):
        for table, optimizer in ((whole, reference), (by_row, ours)):
            optimizer.param_groups[0]["lr"] = RATE * (1 - done / number)
            trained(table, optimizer, [numbers])
    assert not torch.equal(by_row.weight, whole.weight), "no row waits"
    (held,) = ours.state_dict()["state"]
    (expected,) = reference.state_dict()["state"].values()
    torch.testing.assert_close(by_row.weight.detach(), whole.weight.detach(), rtol=0, atol=5e-5)
    torch.testing.assert_close(held["mean"], expected["exp_avg"], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(held["square"], expected["exp_avg_sq"], rtol=1e-6, atol=1e-7)
    assert float(held["step"]) == number


def test_a_row_has_caught_up_when_it_is_read() -> None:
    """By a lookup, without a step or a settlement after it; rows that are not read wait on."""
    touched = steps(60, count=40, each=2)
    whole, by_row = table_of(40, 4), table_of(40, 4)
    by_rows(by_row)
    trained(whole, torch.optim.Adam(whole.parameters(), lr=RATE, betas=BETAS), touched)
    ours = Adam([{"params": list(by_row.parameters()), "lr": RATE}], betas=BETAS)
    trained(by_row, ours, touched)
    behind = (by_row.weight - whole.weight).abs().amax(1).detach() > 1e-3
    some = behind.nonzero().squeeze(1)[:3]
    assert 3 < int(behind.sum()) < 40
    torch.testing.assert_close(gathered(by_row.weight, some), whole.weight[some], rtol=1e-5, atol=2e-5)
    still = (by_row.weight - whole.weight).abs().amax(1).detach() > 1e-3
    assert int(still.sum()) == int(behind.sum()) - 3


def test_the_gradient_of_what_was_read_before_is_not_disturbed_by_rows_that_catch_up() -> None:
    """Two lookups of one pass: the second moves rows of the table that the first has read from."""
    table = table_of(30, 4)
    by_rows(table)
    ours = Adam([{"params": list(table.parameters()), "lr": RATE}], betas=BETAS)
    trained(table, ours, steps(20, count=30, each=3))
    first, second = torch.tensor([1, 2, 3]), torch.tensor([3, 20, 21])
    ours.zero_grad()
    product = gathered(table.weight, first) * gathered(table.weight, second)
    product.sum().backward()  # type: ignore[no-untyped-call]
    assert table.weight.grad is not None
    expected = torch.zeros_like(table.weight)
    expected.index_add_(0, first, table.weight[second].detach()).index_add_(0, second, table.weight[first].detach())
    torch.testing.assert_close(table.weight.grad.to_dense(), expected)


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


def lookups(table: nn.Embedding, *, seed: int, also_whole: bool) -> Tensor:
    """A loss of two lookups of some rows each, padding and repetitions among them, and of all rows where asked."""
    generator = torch.Generator().manual_seed(seed)
    first, second = (torch.randint(0, 40, shape, generator=generator) for shape in ((3, 4), (12,)))
    loss = (gathered(table.weight, first).flatten(0, 1) * gathered(table.weight, second)).square().sum()
    return loss + (table.weight.sin().sum() if also_whole else 0.0)


def test_lookups_in_place_have_autograds_gradient_in_every_step() -> None:
    """Of rows that another step used and this one does not, and after a step that read the table otherwise too; with
    gradients that are forgotten between steps or go on adding up.
    """
    plain, ours = table_of(40, 4).double(), table_of(40, 4).double()
    in_place(ours)
    for seed, (also_whole, forgets) in enumerate(
        [(False, True), (False, True), (True, True), (False, True), (False, False), (True, False), (False, True)]
    ):
        for table in (plain, ours):
            if forgets:
                table.weight.grad = None
            lookups(table, seed=seed, also_whole=also_whole).backward()  # type: ignore[no-untyped-call]
        assert plain.weight.grad is not None
        assert ours.weight.grad is not None
        torch.testing.assert_close(ours.weight.grad, plain.weight.grad)
        assert also_whole or bool((ours.weight.grad[1:] == 0).all(1).any()), "every row is read"


def test_a_model_that_adds_up_in_place_can_be_copied() -> None:
    ours = table_of(40, 4)
    in_place(ours)
    lookups(ours, seed=0, also_whole=True).backward()  # type: ignore[no-untyped-call]
    copied = copy.deepcopy(ours)
    assert isinstance(copied.weight, InPlaceTable)
    for table in (ours, copied):
        table.weight.grad = None
        lookups(table, seed=1, also_whole=False).backward()  # type: ignore[no-untyped-call]
    assert copied.weight.grad is not None
    assert ours.weight.grad is not None
    assert torch.equal(copied.weight.grad, ours.weight.grad)
    assert copied.weight.grad is not ours.weight.grad


def training_of(
    make_log: MakeLog, model: ModelConfig, *, checkpoint: Path | None = None, **settings: object
) -> Training:
    log = make_log(lengths=[5, 6, 9, 4, 8, 7], item_count=400)
    log = replace(log, sequences=replace(log.sequences, times=torch.arange(len(log.sequences.items)) ** 2))
    config = TrainingConfig.from_dict({"batch_size": 2, "epochs": 4, "table_rows": "touched"} | settings)
    built = build(replace(model, dim=8, length=6), 400, seed=1)
    device = torch.device("cpu")
    return Training(built, log, log, config, seed=1, evaluation_seed=0, device=device, checkpoint=checkpoint)


@pytest.mark.parametrize(
    "model",
    SAMPLED,
    ids=lambda model: f"{model.backbone}-{model.loss}-{model.gate}",
)
def test_a_step_of_a_sampled_loss_reads_and_moves_few_rows(make_log: MakeLog, model: ModelConfig) -> None:
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
    def training(checkpoint: Path | None) -> Training:
        return training_of(make_log, ModelConfig(), checkpoint=checkpoint, decay=0.5)

    whole = training(None)
    whole.run(on_epoch=lambda _: None)

    def interrupt(epoch: Epoch) -> None:
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training(tmp_path / "checkpoint.pt").run(on_epoch=interrupt)
    resumed = training(tmp_path / "checkpoint.pt")
    resumed.run(on_epoch=lambda _: None)
    assert resumed.progress.epoch == 4
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_small_catalogues_and_losses_over_every_item_are_trained_by_adam(make_log: MakeLog) -> None:
    auto = TrainingConfig()
    assert not auto.touches_rows(TOUCHED_FROM - 1, possible=True)
    assert auto.touches_rows(TOUCHED_FROM, possible=True)
    assert not auto.touches_rows(TOUCHED_FROM, possible=False)
    assert not TrainingConfig(table_rows="all").touches_rows(TOUCHED_FROM, possible=True)
    assert not TrainingConfig(beta2=0.85).touches_rows(TOUCHED_FROM, possible=True)
    with pytest.raises(ValueError, match=r"a beta2 of 0.9 or more, not 0.85"):
        training_of(make_log, ModelConfig(), beta2=0.85)
    assert not training_of(make_log, ModelConfig(), table_rows="auto").touches_rows
    for model in (ModelConfig(loss="softmax"), ModelConfig(backbone="bert4rec"), ModelConfig(backbone="diffrec")):
        assert not training_of(make_log, model, table_rows="auto").touches_rows
        with pytest.raises(ValueError, match="reads the whole item table"):
            training_of(make_log, model)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("loss", LOSSES)
def test_the_configuration_knows_which_models_read_the_whole_table_and_which_read_times(
    backbone: str, loss: str
) -> None:
    config = ModelConfig(backbone=backbone, loss=loss, dim=4, length=4)
    built = build(config, 9, seed=1, user_count=3)
    assert bool(built.row_tables()) != config.reads_whole_table
    assert ("times" in built.needs) == config.needs_times


def assert_trained_alike(one: Training, other: Training, *, rel: float, atol: float) -> None:
    """Over four epochs: figures up to `rel`, weights up to `atol`."""
    for _ in range(4):
        figures, expected = (each.train_epoch() | each.validate_if_due() for each in (one, other))
        assert figures == pytest.approx(expected, rel=rel)
    for (name, mine), its in zip(one.model.named_parameters(), other.model.parameters(), strict=True):
        np.testing.assert_allclose(mine.detach(), its.detach(), rtol=0, atol=atol, err_msg=name)


@pytest.mark.parametrize(
    "model",
    SAMPLED,
    ids=lambda model: f"{model.backbone}-{model.loss}-{model.gate}",
)
def test_a_training_in_place_is_the_one_with_autograds_gradients(
    make_log: MakeLog, monkeypatch: pytest.MonkeyPatch, model: ModelConfig
) -> None:
    """In float64, gBCE's scores of every item, whose gradient is that of the whole table, among them."""
    ours = training_of(make_log, model, clip=1.0, table_rows="all")
    monkeypatch.setattr(training_loop, "in_place", lambda embedding: None)
    plain = training_of(make_log, model, clip=1.0, table_rows="all")
    for each in (ours, plain):
        each.model.double()
    assert isinstance(ours.model.item_table(), InPlaceTable)
    assert not isinstance(plain.model.item_table(), InPlaceTable)
    assert_trained_alike(ours, plain, rel=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "model",
    [
        *SAMPLED,
        ModelConfig(robust="co-teaching"),
        ModelConfig(contrast=0.1),
        ModelConfig(noise_model="co-occurrence", cleaning="sampled", drop_below=0.0, corrupt_inputs=0.3),
    ],
    ids=lambda model: f"{model.backbone}-{model.loss}-{model.gate}-{model.noise_model}-{model.robust}-{model.contrast}",
)
def test_a_training_by_rows_is_the_one_that_moves_all_of_them(make_log: MakeLog, model: ModelConfig) -> None:
    """In float64, up to ε: weights, moments, losses and validation, with clipping, weight decay, a rate that falls."""
    by_row, whole = (
        training_of(make_log, model, clip=1.0, weight_decay=0.1, decay=0.5, table_rows=rows)
        for rows in ("touched", "all")
    )
    for each in (by_row, whole):
        each.model.double()
    assert isinstance(by_row.model.item_table(), RowTable)
    assert not isinstance(whole.model.item_table(), RowTable)
    assert_trained_alike(by_row, whole, rel=1e-5, atol=1e-6)
    for mine, its in zip(*(each.optimizer.state_dict()["state"] for each in (by_row, whole)), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-8)


def test_embeddings_that_a_gate_reads_have_caught_up(make_log: MakeLog) -> None:
    """The contextual gate plants items that no window of the batch holds."""
    model = ModelConfig(gate="contextual", estimator="hard-concrete")
    training = training_of(make_log, model)
    for batch in training.model.training_batches(
        training.log.sequences, batch_size=2, generator=training.order["order"], draws=training.draws
    ):
        training._gradients(batch)
        training._step()
    table, every = training.model.item_table(), torch.arange(401)
    behind = table.detach().clone()
    backbone = next(part for part in training.model.modules() if isinstance(part, Backbone))
    read = backbone.item_embeddings(every)
    training.optimizer.settle()
    assert not read.requires_grad
    assert torch.equal(read, table)
    assert not torch.equal(read, behind)
