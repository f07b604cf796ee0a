"""The record of how a step runs: what can change its digits beside its inputs and its code."""

import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from models.config import FULL_PRECISION
from models.engine.processor import processor_name

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

    @classmethod
    def here(
        cls, device: str, processor: str, *, threads: int, precision: str, stacked: int = 1, compiled: bool = False
    ) -> "Execution":
        """That of this machine, with this Python and these libraries."""
        libraries = {name: version(name) for name in LIBRARIES}
        return cls(device, processor, threads, precision, platform.python_version(), libraries, stacked, compiled)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def on_one_core() -> Execution:
    """How a log is judged by what needs no training, such as a filter or an audit."""
    return Execution.here("cpu", processor_name(), threads=1, precision=FULL_PRECISION)
