"""The machine, and the record of how trainings run on it."""

import json
import sys
from types import SimpleNamespace

import pytest

from tasks import execution, machine
from tasks.audit.judge import judge_key
from tasks.data_specs import FilterSpec
from tasks.errors import InputError
from tasks.filter import filter_key
from tasks.machine import resolve, side_by_side
from tasks.snapshots import Snapshot
from tasks.specs import ExecutionSpec


def on_machine(monkeypatch: pytest.MonkeyPatch, *, gpu: str | None, cores: int) -> None:
    monkeypatch.setattr(machine, "_gpu_name", lambda: gpu)
    monkeypatch.setattr(machine, "usable_cores", lambda: cores)


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
    machine._gpu_name.cache_clear()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert machine._gpu_name() is None
    machine._gpu_name.cache_clear()


@pytest.mark.parametrize(("visible", "taken"), [(None, 0), ("0", 0), ("1,0", 1), ("GPU-bb", 1), ("GPU-aa,GPU-bb", 0)])
def test_the_gpu_that_torch_sees_first_is_the_one_that_is_told_of(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, taken: int
) -> None:
    driver = SimpleNamespace(
        nvmlDeviceGetHandleByIndex=lambda number: number,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetUUID=("GPU-aa11", "GPU-bb22").__getitem__,
    )
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert machine.first_gpu() == taken


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


def test_what_a_filter_or_an_audit_made_elsewhere_is_not_taken_for_their_own(
    tiny_snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another processor or torch may judge otherwise in the last digit, and a digit decides what is left out."""
    keys = [(filter_key(tiny_snapshot, FilterSpec()), judge_key(tiny_snapshot)) for _ in range(2)]
    monkeypatch.setattr(execution, "processor_name", lambda: "another")
    keys.append((filter_key(tiny_snapshot, FilterSpec()), judge_key(tiny_snapshot)))
    monkeypatch.setattr(execution, "version", lambda name: f"{name} of tomorrow")
    keys.append((filter_key(tiny_snapshot, FilterSpec()), judge_key(tiny_snapshot)))
    assert keys[0] == keys[1]
    assert all(len(set(each)) == 3 for each in zip(*keys, strict=True))
