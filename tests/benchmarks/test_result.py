"""A benchmark's result as a file."""

import json
from pathlib import Path

from benchmarks.result import write
from models.engine.processor import processor_name


def test_a_result_names_the_machine_and_is_whole_at_any_time(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write(path, {"ratio": 1.5})
    write(str(path), {"ratio": 2.5})
    written = json.loads(path.read_text(encoding="utf-8"))
    machine = written.pop("machine")
    assert written == {"ratio": 2.5}
    assert machine["processor"] == processor_name()
    assert machine["cores"] >= 1
    assert set(machine["libraries"]) == {"torch", "numpy"}
    assert list(tmp_path.iterdir()) == [path]
