"""What this machine has, and how trainings that a person asks for run on it."""

import os
from functools import cache
from importlib.metadata import version
from typing import Any

from models.config import AT_MOST_STACKED
from models.engine.processor import processor_name
from tasks.errors import InputError
from tasks.execution import Execution
from tasks.specs import ExecutionSpec


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
    return Execution.here(
        device,
        gpu if on_gpu and gpu is not None else processor_name(),
        threads=spec.threads,
        precision=spec.precision,
        stacked=usual if spec.stacked is None else spec.stacked,
        compiled=spec.compiled,
    )


def side_by_side(spec: ExecutionSpec, execution: Execution) -> int:
    """How many trainings run at a time."""
    if spec.side_by_side is not None:
        return spec.side_by_side
    return 1 if execution.device == "cuda" else max(1, usable_cores() // execution.threads)


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def first_gpu() -> Any:
    """NVML's handle of the GPU that torch calls the first: that of the first number or UUID in CUDA_VISIBLE_DEVICES,
    or the machine's own first. NVML has to be open.

    Raises `pynvml.NVMLError` where there is none.
    """
    import pynvml

    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0].strip()
    if first.isdigit():
        return pynvml.nvmlDeviceGetHandleByIndex(int(first))
    for number in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(number)
        if str(pynvml.nvmlDeviceGetUUID(handle)).startswith(first):
            return handle
    return pynvml.nvmlDeviceGetHandleByUUID(first)


@cache
def _gpu_name() -> str | None:
    """The first GPU's name, or None; asked of the driver, because importing torch takes seconds."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "unset").strip() in ("", "-1")
    if hidden or "+cpu" in version("torch"):
        return None
    import pynvml

    try:
        pynvml.nvmlInit()
        name = pynvml.nvmlDeviceGetName(first_gpu())
        pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return None
    return name if isinstance(name, str) else name.decode()
