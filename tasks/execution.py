"""The record of how a step runs: what can change its digits beside its inputs and its code."""

import os
import platform
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from models.config import AT_MOST_STACKED
from tasks.errors import InputError
from tasks.specs import ExecutionSpec

LIBRARIES = ("torch", "numpy")
VECTOR_UNITS = {"avx512f": "AVX-512", "avx2": "AVX2"}
"""By the flag that a processor tells them with, the widest first."""


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
        processor=gpu if on_gpu and gpu is not None else _cpu_name(),
        threads=spec.threads,
        precision=spec.precision,
        python=platform.python_version(),
        libraries={name: version(name) for name in LIBRARIES},
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


def _cpu_name() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        told = processor_in(listing.read_text(encoding="utf-8", errors="replace"))
        if told is not None:
            return told
    return platform.processor() or platform.machine()


def processor_in(listing: str) -> str | None:
    """The first processor of a /proc/cpuinfo, or None: its name, family and model, and its widest vector units, which
    decide what kernels torch takes. The name alone may stand for many: a virtual machine's is often the maker's.
    """
    first = listing.split("\n\n", 1)[0]
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
    if "model name" not in told:
        return None
    numbers = " ".join(f"{name.removeprefix('cpu ')} {told[name]}" for name in ("cpu family", "model") if name in told)
    units = next((named for flag, named in VECTOR_UNITS.items() if flag in told.get("flags", "").split()), "")
    return ", ".join(filter(None, (told["model name"], numbers, units)))
