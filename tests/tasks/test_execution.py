"""The record of how trainings run."""

import json

import pytest

from tasks import execution
from tasks.errors import InputError
from tasks.execution import resolve, side_by_side
from tasks.specs import ExecutionSpec


def on_machine(monkeypatch: pytest.MonkeyPatch, *, gpu: str | None, cores: int) -> None:
    monkeypatch.setattr(execution, "_gpu_name", lambda: gpu)
    monkeypatch.setattr(execution, "usable_cores", lambda: cores)


def test_auto_takes_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    on_machine(monkeypatch, gpu="NVIDIA X", cores=8)
    assert (resolve(ExecutionSpec()).device, resolve(ExecutionSpec()).processor) == ("cuda", "NVIDIA X")
    assert resolve(ExecutionSpec(device="cpu")).device == "cpu"
    on_machine(monkeypatch, gpu=None, cores=8)
    assert resolve(ExecutionSpec()).device == "cpu"


def test_a_gpu_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    on_machine(monkeypatch, gpu=None, cores=8)
    with pytest.raises(InputError, match="no GPU was found"):
        resolve(ExecutionSpec(device="cuda"))


@pytest.mark.parametrize("value", ["", "-1"])
def test_a_hidden_gpu_is_not_found(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    execution._gpu_name.cache_clear()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert execution._gpu_name() is None
    execution._gpu_name.cache_clear()


def test_as_many_trainings_as_cores_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    on_machine(monkeypatch, gpu="NVIDIA X", cores=8)
    for spec, expected in (
        (ExecutionSpec(device="cpu"), 8),
        (ExecutionSpec(device="cpu", threads=3), 2),
        (ExecutionSpec(device="cpu", threads=16), 1),
        (ExecutionSpec(device="cuda"), 1),
        (ExecutionSpec(device="cpu", side_by_side=5), 5),
    ):
        assert side_by_side(spec, resolve(spec)) == expected


def test_trainings_are_stacked_on_a_gpu_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    on_machine(monkeypatch, gpu="NVIDIA X", cores=8)
    for spec, expected in (
        (ExecutionSpec(), 32),
        (ExecutionSpec(stacked=1), 1),
        (ExecutionSpec(device="cpu"), 1),
        (ExecutionSpec(device="cpu", stacked=4), 4),
    ):
        assert resolve(spec).stacked == expected


def test_compiled_trainings_run_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    on_machine(monkeypatch, gpu="NVIDIA X", cores=8)
    compiled = resolve(ExecutionSpec(compiled=True))
    assert (compiled.compiled, compiled.stacked) == (True, 1)
    with pytest.raises(ValueError, match="leave stacked out, or compiled"):
        ExecutionSpec(compiled=True, stacked=8)


def test_a_format_of_gpus_is_refused_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    on_machine(monkeypatch, gpu="NVIDIA X", cores=8)
    assert resolve(ExecutionSpec(precision="tf32")).precision == "tf32"
    assert resolve(ExecutionSpec(device="cpu", precision="bf16")).precision == "bf16"
    with pytest.raises(InputError, match="tf32 is a format of GPUs"):
        resolve(ExecutionSpec(device="cpu", precision="tf32"))


def test_the_record_is_plain_json_and_covers_the_threads() -> None:
    one, two = (resolve(ExecutionSpec(device="cpu", threads=threads)).to_dict() for threads in (1, 2))
    assert json.loads(json.dumps(one)) == one
    assert one != two
    assert set(one["libraries"]) == {"torch", "numpy"}
