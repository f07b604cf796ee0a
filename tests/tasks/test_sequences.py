"""The flat arrays that models read say what the snapshot says."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.config import ModelConfig, TrainingConfig
from models.engine.sequences import load_log
from tasks.data_specs import PrepareSpec
from tasks.errors import InputError
from tasks.home import Home
from tasks.machine import resolve
from tasks.sequences import export_log
from tasks.snapshots import Snapshot
from tasks.specs import ExecutionSpec
from tasks.train import train

Read = Callable[[Path], list[tuple[Any, ...]]]


def test_the_arrays_are_the_tables(tiny_snapshot: Snapshot, home: Home, rows_of: Read) -> None:
    log = load_log(export_log(tiny_snapshot, home=home))
    sequences = log.sequences
    histories = [
        list(zip(sequences.items[start:end].tolist(), sequences.times[start:end].tolist(), strict=True))
        for start, end in pairwise(sequences.offsets.tolist())
    ]
    expected: list[list[tuple[int, int]]] = [[] for _ in range(tiny_snapshot.counts.users)]
    for user, item, time, position, _ in rows_of(tiny_snapshot.interactions):
        assert position == len(expected[user])
        expected[user].append((item, time))
    assert histories == expected
    assert sequences.item_count == tiny_snapshot.counts.items
    assert sequences.train_lengths.tolist() == [length for _, _, length in rows_of(tiny_snapshot.users)]
    for split, targets in log.targets.items():
        rows = [row for row in rows_of(tiny_snapshot.targets) if row[3] == split]
        found = zip(targets.users.tolist(), targets.items.tolist(), targets.histories.tolist(), strict=True)
        assert list(found) == [(user, item, history) for _, user, item, _, history in rows]
        assert rows
    assert set(log.targets) == {"validation", "promotion", "test"}


def test_a_snapshot_without_promotion_targets_has_empty_arrays(
    ingest_file: Callable[..., Snapshot], tiny_log: Path, home: Home
) -> None:
    log = load_log(export_log(ingest_file(tiny_log, prepare=PrepareSpec(promotion=0), time="ts"), home=home))
    assert len(log.targets["promotion"]) == 0
    assert len(log.targets["validation"]) == len(log.targets["test"]) > 0


def test_a_log_without_times_has_none(
    ingest_file: Callable[..., Snapshot], write_log: Callable[..., Path], home: Home
) -> None:
    snapshot = ingest_file(write_log("user_id,item_id\na,1\na,2\na,3\nb,1\n"))
    log = load_log(export_log(snapshot, home=home))
    assert log.sequences.times is None
    assert log.sequences.offsets.tolist() == [0, 3, 4]


def test_it_is_written_once(tiny_snapshot: Snapshot, home: Home) -> None:
    path = export_log(tiny_snapshot, home=home)
    written = path.stat().st_mtime_ns
    assert export_log(tiny_snapshot, home=home) == path
    assert path.stat().st_mtime_ns == written
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_damaged_snapshot_is_not_trained_on(tiny_snapshot: Snapshot, home: Home) -> None:
    with tiny_snapshot.interactions.open("r+b") as file:
        file.seek(40)
        file.write(b"\xff\xff")
    with pytest.raises(InputError, match=r"interactions\.parquet"):
        export_log(tiny_snapshot, home=home)
    assert list(home.steps.rglob("*.npz")) == []


def test_damage_is_named_before_training_though_the_arrays_are_there(tiny_snapshot: Snapshot, home: Home) -> None:
    export_log(tiny_snapshot, home=home)
    content = bytearray(tiny_snapshot.interactions.read_bytes())
    content[len(content) // 2] ^= 1
    tiny_snapshot.interactions.write_bytes(content)
    folder = home.steps / "train" / "a"
    with pytest.raises(InputError, match=r"interactions\.parquet is damaged"):
        train(
            tiny_snapshot,
            tiny_snapshot,
            ModelConfig(),
            TrainingConfig(),
            seed=1,
            evaluation_seed=0,
            execution=resolve(ExecutionSpec(device="cpu")),
            time_limit_minutes=1,
            made_by={},
            folder=folder,
            home=home,
        )
    assert not folder.exists()


@pytest.mark.parametrize("place", [0.3, 0.999])
def test_damaged_arrays_are_written_anew(tiny_snapshot: Snapshot, home: Home, place: float) -> None:
    path = export_log(tiny_snapshot, home=home)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(place * len(whole))])
    assert export_log(tiny_snapshot, home=home) == path
    with np.load(path) as arrays:
        flipped = bytearray(path.read_bytes())
        flipped[whole.index(arrays["items"].tobytes())] ^= 1
        written = arrays["items"].tolist()
    path.write_bytes(flipped)
    with np.load(export_log(tiny_snapshot, home=home)) as arrays:
        assert arrays["items"].tolist() == written
