"""A training's process is seen from outside: its own CPU and memory, in order, and nothing is left running."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tasks import watching
from tasks.track import Tracker
from tasks.watching import samples_in, watched

BUSY = """
import time
held = bytearray(200_000_000)
for place in range(0, len(held), 4096):
    held[place] = 1
end = time.monotonic() + 2.0
while time.monotonic() < end:
    pass
"""


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "USUAL_SECONDS", 0.1)


def test_cpu_and_memory_are_those_of_the_process(tmp_path: Path) -> None:
    path = tmp_path / "training" / "system.jsonl"
    before = threading.active_count()
    for _ in range(2):
        with subprocess.Popen([sys.executable, "-c", BUSY]) as process, watched(process.pid, path, device="cpu"):
            process.wait(60)
    assert threading.active_count() == before
    samples = samples_in(path)
    assert len(samples) >= 4
    steps = [sample["step"] for sample in samples]
    assert steps == sorted(steps)
    assert steps[0] > 0
    assert max(sample["metrics"]["system/memory_usage_megabytes"] for sample in samples) > 200
    assert max(sample["metrics"]["system/cpu_utilization_percentage"] for sample in samples) > 5


def test_a_training_of_less_than_a_second_has_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with (
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process,
        watched(process.pid, tmp_path / "system.jsonl", device="cpu"),
    ):
        time.sleep(0.7)
        process.kill()
        process.wait(60)
    assert len(samples_in(tmp_path / "system.jsonl")) >= 2


def test_a_process_that_is_gone_and_a_file_that_is_not_there_are_no_fault(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait(60)
    with watched(process.pid, tmp_path / "system.jsonl", device="cpu"):
        pass
    assert samples_in(tmp_path / "system.jsonl") == []
    assert samples_in(tmp_path / "no.jsonl") == []


def test_an_unfinished_line_is_left_out_and_samples_are_logged_once(tmp_path: Path, tracker: Tracker) -> None:
    path = tmp_path / "system.jsonl"
    lines = [f'{{"timestamp": {1000 + at}, "metrics": {{"system/memory_usage_megabytes": {at}}}}}' for at in (0, 700)]
    path.write_text("\n".join([*lines, '{"timest']))
    run_id = tracker.open_run("k", name="run")
    for _ in range(2):
        tracker.log_figures(run_id, samples=samples_in(path))
    tracker.log_figures(run_id, samples=[])
    points = tracker.client.get_metric_history(run_id, "system/memory_usage_megabytes")
    assert [(point.timestamp, point.value) for point in points] == [(1000, 0), (1700, 700)]
