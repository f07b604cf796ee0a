"""How far a job is, in words and numbers."""

import pytest

from tasks.progress import Progress, duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (40, "40 s"), (89, "89 s"), (150, "2 min"), (5400, "1 h 30 min"), (7200, "2 h")],
)
def test_seconds_as_a_person_says_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_time_to_go_is_in_proportion_to_what_was_measured() -> None:
    progress = Progress(4, dict.fromkeys("abcd", 10.0), started=0.0)
    assert progress.seconds_to_go(under_way=1, now=5.0) is None
    assert "time to go not known yet" in progress.told(under_way=1, now=5.0)
    progress.trained("a")
    progress.done = 1
    assert progress.seconds_to_go(under_way=0, now=30.0) == pytest.approx(90.0)
    assert progress.seconds_to_go(under_way=2, now=40.0) == pytest.approx(40.0)
    assert progress.told(under_way=2, now=40.0) == "1 of 4 cells done, 2 running, 1 left, about 40 s to go"


def test_before_a_training_has_ended_it_is_what_they_are_expected_to_take() -> None:
    progress = Progress(4, {"a": 60.0, "b": 60.0, "c": 120.0, "d": 480.0}, started=100.0, at_a_time=2)
    assert progress.told(under_way=0, now=100.0) == "0 of 4 cells done, 0 running, 4 left, about 8 min to go"
    assert progress.seconds_to_go(under_way=2, now=130.0) == pytest.approx(450.0)
    assert progress.seconds_to_go(under_way=2, now=900.0) == 0.0
    progress.trained("a")
    assert progress.seconds_to_go(under_way=0, now=130.0) == pytest.approx(30.0 * 660 / 60)


def test_one_that_took_far_longer_than_expected_does_not_speak_for_all() -> None:
    progress = Progress(3, {"counted": 12.0, "b": 480.0, "c": 480.0}, started=0.0, at_a_time=1)
    progress.trained("counted")
    assert progress.seconds_to_go(under_way=0, now=200.0) == pytest.approx(960 * (200 + 324) / (12 + 324))
    progress.trained("b")
    assert progress.seconds_to_go(under_way=0, now=1160.0) == pytest.approx(480 * (1160 + 324) / (492 + 324))


def test_what_is_cached_takes_no_time_and_what_failed_is_told() -> None:
    progress = Progress(3, {"a": 10.0}, started=0.0)
    progress.trained("cached")
    assert progress.seconds_to_go(under_way=1, now=5.0) is None
    progress.trained("a")
    progress.done, progress.failed = 2, 1
    assert progress.told(under_way=0, now=9.0) == "2 of 3 cells done, 1 failed, 0 running, 0 left"
