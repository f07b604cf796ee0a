"""A benchmark's result: its figures as JSON, with the machine that they were taken on."""

import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from models.engine.files import written_whole
from models.engine.processor import processor_name


def machine(device: str = "cpu") -> dict[str, Any]:
    """The processor (or GPU) and its cores, how many of them others keep busy, and the libraries."""
    name = processor_name()
    if device != "cpu":
        import torch  # a second that start-up's benchmark shall not take

        name = torch.cuda.get_device_name(device)
    return {
        "processor": name,
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in ("torch", "numpy")},
    }


def write(path: str | Path | None, result: Mapping[str, Any], device: str = "cpu") -> None:
    """`result` and its machine as JSON, where a file was asked for; the file is whole at any time."""
    if path is None:
        return
    content = json.dumps({**result, "machine": machine(device)}, indent=1) + "\n"
    with written_whole(Path(path)) as file:
        file.write(content.encode())
