"""What the comparison with other libraries counts, ranks and tells; their environments are not needed here."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers import __main__ as peers
from benchmarks.peers.side import LENGTH, Log, Turn, counted, ndcg


def log_of(histories: list[list[int]], targets: list[int]) -> Log:
    """Users who trained on all of their histories, and are ranked on the target after them."""
    sizes = np.array([len(history) for history in histories])
    return Log(
        items=np.concatenate([np.array(history, dtype=np.int64) for history in histories]),
        offsets=np.concatenate([[0], sizes.cumsum()]),
        train_lengths=sizes,
        item_count=6,
        users=np.arange(len(histories)),
        targets=np.array(targets),
        histories=sizes,
    )


def test_a_position_is_an_event_read_with_a_target_of_its_own() -> None:
    read = np.array([[0, 0, 3, 4], [0, 0, 0, 0], [1, 2, 3, 4]]) > 0
    targets = np.array([[0, 3, 4, 5], [0, 0, 0, 6], [2, 3, 4, 5]]) > 0
    assert counted(read, targets) == 2 + 0 + 4


def test_histories_stand_at_the_end_of_their_rows() -> None:
    log = log_of([[1, 2, 3], [4], list(range(1, 7)) * 10], [5, 5, 5])
    rows = log.histories_before_targets()
    assert rows.shape == (3, LENGTH)
    assert rows[0].tolist() == [0] * (LENGTH - 3) + [1, 2, 3]
    assert rows[1].tolist() == [0] * (LENGTH - 1) + [4]
    assert rows[2].tolist() == (list(range(1, 7)) * 10)[-LENGTH:]
    assert [len(part) for part in log.training_parts()] == [3, 60]
    assert log.steps_of_epoch() == 1


def test_ranks_leave_out_what_was_seen_and_halve_ties() -> None:
    log = log_of([[1, 2], [3]], [5, 6])
    table = np.array([9, 8, 7, 3, 2, 2, 1], dtype=np.float32)[:, None]
    both = np.ones((2, 1), dtype=np.float32)
    first = 1 / np.log2(1 + 0.5 + 2)  # 3 above, 4 tied
    second = 1 / np.log2(4 + 2)  # 1, 2, 4 and 5 above
    assert ndcg(both, table, log) == pytest.approx((first + second) / 2)


def test_ratios_are_of_the_same_round_and_told_in_a_table() -> None:
    ours = [Turn(100, wall=2.0, processor=1.0), Turn(100, wall=9.0, processor=4.0), Turn(100, wall=2.0, processor=1.0)]
    theirs = [Turn(50, wall=2.0, processor=1.0), Turn(50, wall=9.0, processor=4.0), Turn(50, wall=4.0, processor=2.0)]
    sides = peers.summary({"ours": ours, "replay": theirs}, counted="processor")
    assert sides["ours"]["ours_over"] == 1.0
    assert sides["replay"]["ours_over"] == 2.0
    assert sides["replay"]["positions_per_processor_second"] == 25.0
    assert sides["replay"]["positions_per_second"] == 12.5
    for side in sides.values():
        side["validation.full_unseen.ndcg_at_10"] = 0.0213
    heading, first, second = peers.table(sides).splitlines()
    assert heading.split()[0] == "a"
    assert first.split() == ["ours", "100", "50", "1.00", "300", "0.0213"]
    assert second.split() == ["replay", "25", "12", "2.00", "150", "0.0213"]


def test_a_peer_that_is_not_installed_is_told_of_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "ENVIRONMENTS", tmp_path)
    with pytest.raises(SystemExit, match="--install --peer recbole"):
        peers.main(["--peer", "recbole", "--source", "no such file"])


def test_every_peer_is_pinned_exactly() -> None:
    for name in peers.PEERS:
        lines = Path(peers.__file__).with_name(f"{name}.txt").read_text(encoding="utf-8").splitlines()
        pins = [line for line in lines if not line.startswith("#")]
        assert all("==" in pin for pin in pins)
        assert "torch==2.13.0" in pins
