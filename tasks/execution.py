"""The record of how a step runs: what can change its digits beside its inputs and its code."""

import os
import platform
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

from models.config import AT_MOST_STACKED
from models.engine.processor import processor_name
from tasks.errors import InputError
from tasks.specs import ExecutionSpec

LIBRARIES = ("torch", "numpy")


@dataclass(frozen=True)
class Execution:
    """device: "cpu" or "cuda"; processor: the CPU's or GPU's name; libraries: name → version; stacked: at most so many
    trainings are one stacked model, 1 for each alone; compiled: are steps compiled; precision: a name in
    `models.config.PRECISIONS`.
    """

    device: str
    processor: str
    threads: int
    precision: str
    python: str
    libraries: dict[str, str]
    stacked: int = 1
    compiled: bool = False

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def resolve(spec: ExecutionSpec) -> Execution:
    """How trainings will run here.

    Raises `InputError` where a GPU is asked for, or what only a GPU has, and there is none that torch could use.
    """
    gpu = _gpu_name()
    if spec.device == "cuda" and gpu is None:
        raise InputError("no GPU was found (or torch is a CPU build): use --device cpu or auto")
    on_gpu = gpu is not None and spec.device != "cpu"
    device = "cuda" if on_gpu else "cpu"
    if spec.precision == "tf32" and not on_gpu:
        raise InputError("tf32 is a format of GPUs: on a CPU take precision float32 or bf16")
    usual = 1 if spec.compiled else AT_MOST_STACKED[device]
    return Execution(
        device=device,
        processor=gpu if on_gpu and gpu is not None else processor_name(),
        threads=spec.threads,
        precision=spec.precision,
        python=platform.python_version(),
        libraries={name: version(name) for name in LIBRARIES},
        stacked=usual if spec.stacked is None else spec.stacked,
        compiled=spec.compiled,
    )


def on_one_core() -> Execution:
    """How a log is judged by what needs no training, such as a filter or an audit."""
    return resolve(ExecutionSpec(device="cpu", threads=1))


def side_by_side(spec: ExecutionSpec, execution: Execution) -> int:
    """How many trainings run at a time."""
    if spec.side_by_side is not None:
        return spec.side_by_side
    return 1 if execution.device == "cuda" else max(1, usable_cores() // execution.threads)


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _gpu_name() -> str | None:
    """The first GPU's name, or None; asked of the driver, because importing torch takes seconds."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "unset").strip() in ("", "-1")
    if hidden or "+cpu" in version("torch"):
        return None
    import pynvml

    try:
        pynvml.nvmlInit()
        name = pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(0))
        pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return None
    return name if isinstance(name, str) else name.decode()
