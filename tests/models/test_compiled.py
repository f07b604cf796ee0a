"""Compiled steps, and steps in lower precision, beside plain ones."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.catalogue import build
from models.config import ModelConfig, TrainingConfig
from models.engine.sequences import InteractionLog
from models.engine.training import Running, Training
from tests.models.conftest import MakeLog

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler (g++) here")
LENGTHS = [3 + number % 13 for number in range(45)]
SIZES = ModelConfig(dim=16, blocks=2, heads=2, length=10, dropout=0.2)


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@needs_compiler
@pytest.mark.parametrize(
    "model",
    [
        SIZES,
        pytest.param(
            ModelConfig(dim=16, length=10, loss="gbce-shared", negatives=8, norm="pre"), marks=pytest.mark.slow
        ),
    ],
)
def test_a_compiled_training_is_the_plain_one_up_to_rounding(make_log: MakeLog, model: ModelConfig) -> None:
    """Steps of different sizes, with the same draws: losses, weights, and where the generators stand afterwards; in
    float64, as keys' biases have gradients of 0, of whose rounding Adam makes whole steps.
    """
    log = make_log(lengths=LENGTHS, item_count=60)
    plain, compiled = (training(log, model, running) for running in (Running(), Running(compiled=True)))
    for each in (plain, compiled):
        each.model.double()
    for _ in range(2):
        losses = [each.train_epoch()["train.loss"] for each in (plain, compiled)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-9)
    for one, other in zip(weights(plain), weights(compiled), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)
    for name, state in plain.streams.state_dict().items():
        assert torch.equal(state, compiled.streams.state_dict()[name]), name
    assert plain.validate_if_due() == pytest.approx(compiled.validate_if_due())


@needs_compiler
@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_an_interrupted_compiled_training_goes_on_to_the_same_bits(make_log: MakeLog, tmp_path: Path) -> None:
    log = make_log(lengths=LENGTHS, item_count=60)
    whole, first, second = (training(log, SIZES, Running(compiled=True)) for _ in range(3))
    for _ in range(2):
        whole.train_epoch()
    first.train_epoch()
    first.save(tmp_path / "checkpoint.pt")
    second.restore(tmp_path / "checkpoint.pt")
    second.train_epoch()
    assert all(torch.equal(one, other) for one, other in zip(weights(whole), weights(second), strict=True))


def test_without_a_compiler_a_compiled_training_says_what_is_missing(make_log: MakeLog, tmp_path: Path) -> None:
    """In a process of its own: where the compiler is looked for is remembered."""
    log = make_log(lengths=LENGTHS[:20])
    torch.save(log, tmp_path / "log.pt")
    program = (
        "import sys, torch\n"
        "from models.errors import NotCompiled\n"
        "from models.engine.training import Running\n"
        "from tests.models.test_compiled import SIZES, training\n"
        "log = torch.load(sys.argv[1], weights_only=False)\n"
        "try:\n"
        "    training(log, SIZES, Running(compiled=True)).train_epoch()\n"
        "except NotCompiled as error:\n"
        "    print(error)\n"
    )
    here = {"CXX": str(tmp_path / "none"), "PATH": "", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "log.pt")],
        env=here | {"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "could not be compiled" in done.stdout
    assert "C++ compiler" in done.stdout


def test_what_cannot_be_compiled_is_refused_before_it_trains(make_log: MakeLog) -> None:
    log = make_log(lengths=LENGTHS[:20])
    for other in ({"gate": "positional"}, {"backbone": "bert4rec"}):
        model = replace(SIZES, **other)
        assert not model.can_be_compiled("cuda")
        with pytest.raises(ValueError, match="cannot be compiled"):
            training(log, model, Running(compiled=True))
    with pytest.raises(ValueError, match="touched rows"):
        training(log, SIZES, Running(compiled=True), table_rows="touched")
    assert SIZES.can_be_compiled("cpu")
    softmax = ModelConfig(loss="softmax")
    assert (softmax.can_be_compiled("cpu"), softmax.can_be_compiled("cuda")) == (False, True)


@pytest.mark.parametrize(
    "model",
    [
        SIZES,
        ModelConfig(dim=16, length=10, loss="softmax"),
        ModelConfig(dim=16, length=10, backbone="tisasrec"),
        ModelConfig(dim=16, length=10, backbone="bert4rec", loss="softmax"),
        ModelConfig(dim=16, length=10, backbone="sse-pt", user_dim=8),
        ModelConfig(dim=16, length=10, gate="positional", gamma=1e-3),
    ],
)
def test_bfloat16_learns_what_float32_learns(make_log: MakeLog, model: ModelConfig) -> None:
    """The first epoch's losses agree to the precision of bfloat16, and not to that of float32, which weights keep."""
    log = make_log(lengths=LENGTHS, item_count=60)
    times = torch.arange(len(log.sequences.items)) ** 2
    log = replace(log, sequences=replace(log.sequences, times=times))
    full, lower = (training(log, model, running) for running in (Running(), Running(precision="bf16")))
    losses = [each.train_epoch()["train.loss"] for each in (full, lower)]
    assert losses[0] == pytest.approx(losses[1], rel=2e-2)
    assert losses[0] != losses[1]
    assert {value.dtype for value in weights(lower)} == {torch.float32}
    assert {held["mean"].dtype for held in lower.optimizer.state_dict()["state"]} == {torch.float32}


def test_another_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="float32, tf32, bf16, not 'half'"):
        Running(precision="half")


def training(log: InteractionLog, model: ModelConfig, running: Running, **settings: str) -> Training:
    """One with fresh weights, in small batches."""
    built = build(model, log.sequences.item_count, seed=3, user_count=log.sequences.user_count)
    config = TrainingConfig(batch_size=16, **settings)  # type: ignore[arg-type]
    return Training(built, log, log, config, seed=5, evaluation_seed=0, device=torch.device("cpu"), running=running)


def weights(of: Training) -> list[Tensor]:
    return [value.detach() for value in of.model.parameters()]
