"""What a training's process takes of the machine, looked at from outside while it runs.

MLflow's own monitor sees the whole machine, where several trainings run side by side, and writes from a thread of its
own. This one sees one process, writes lines to a file beside the training, and ends with the process.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from tasks.machine import first_gpu

SYSTEM_FILE = "system.jsonl"
FIRST_SECONDS = 0.1
USUAL_SECONDS = 1.0
SHARE_OF_ELAPSED = 0.01
MEGABYTE = 1e6


@contextmanager
def watched(pid: int, path: Path, *, device: str) -> Iterator[None]:
    """Add samples of the process to the file `path` until the end of the block, a line each. A file that is there goes
    on, as a training that was interrupted does.

    They come a second apart, closer in the first, so that a training that is over in less has some, and further apart
    the longer it takes: a thousand or so in a day.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    ended = threading.Event()
    thread = threading.Thread(target=_watch, args=(pid, path, device, ended), name=f"watching {pid}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def samples_in(path: Path) -> list[dict[str, Any]]:
    """The file's samples `{"step", "timestamp", "metrics"}`, none where there is no file; a line that a killed process
    left unfinished is left out. Steps are milliseconds, unlike those of epochs: MLflow takes figures at one step for
    figures of one moment.
    """
    if not path.exists():
        return []
    samples = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with suppress(ValueError):
            samples.append(json.loads(line))
    first = samples[0]["timestamp"] if samples else 0
    before = int(FIRST_SECONDS * 1000)
    return [sample | {"step": before + sample["timestamp"] - first} for sample in samples]


def _watch(pid: int, path: Path, device: str, ended: threading.Event) -> None:
    started = time.monotonic()
    with suppress(psutil.Error), path.open("a", encoding="utf-8") as file:
        process = psutil.Process(pid)
        process.cpu_percent()  # the first call only begins the measurement
        while not ended.wait(_pause(time.monotonic() - started)):
            if process.status() == psutil.STATUS_ZOMBIE:
                return
            metrics = _of_process(process) | (_of_gpu() if device == "cuda" else {})
            file.write(json.dumps({"timestamp": int(time.time() * 1000), "metrics": metrics}) + "\n")
            file.flush()


def _pause(elapsed: float) -> float:
    """Seconds to the next sample."""
    return max(FIRST_SECONDS, min(elapsed, USUAL_SECONDS), SHARE_OF_ELAPSED * elapsed)


def _of_process(process: psutil.Process) -> dict[str, float]:
    """CPU in % of one core, and the memory that is in use."""
    return {
        "system/cpu_utilization_percentage": process.cpu_percent(),
        "system/memory_usage_megabytes": process.memory_info().rss / MEGABYTE,
    }


def _of_gpu() -> dict[str, float]:
    """The whole GPU that is trained on, under the names that MLflow gives; nothing where the driver does not tell."""
    import pynvml

    try:
        pynvml.nvmlInit()
        gpu = first_gpu()
        memory = pynvml.nvmlDeviceGetMemoryInfo(gpu)
        figures = {
            "system/gpu_0_utilization_percentage": float(pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu),
            "system/gpu_0_memory_usage_megabytes": memory.used / MEGABYTE,
            "system/gpu_0_memory_usage_percentage": 100 * memory.used / memory.total,
        }
        pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return {}
    return figures
