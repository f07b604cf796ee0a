"""What is said of a run made again, and of two runs beside each other."""

from dataclasses import asdict
from typing import Any

import pytest

from flows import runs
from tasks.rerun import Again, Figure
from tasks.rundiff import MetricPair, RunDifference
from tasks.runs import HeldRun
from tasks.specs import CellSpec, named_method


def said_of(*figures: Figure, ranks_differ: int = 0) -> list[str]:
    again = Again(figures, 7, ranks_differ)
    outcome = again.to_dict() | {"warnings": ["code: commit: a, now b"], "expected_identical": False}
    return "\n".join(runs.told_again(outcome)).split("\n")


def test_what_one_version_does_not_know_is_said_and_is_no_difference() -> None:
    same, then, now = Figure("a", 0.5, 0.5), Figure("b", None, 0.25, "then"), Figure("c", 0.75, None, "now")
    assert said_of(same, then, now) == [
        "  warning: code: commit: a, now b",
        "METRIC  BEFORE  AGAIN",
        "a       0.5     0.5    identical",
        "b       –       0.25   not known then",
        "c       0.75    –      not known now",
        "Ranks: all 7 targets have the same",
        "Not compared: 2 figures that one of the two versions does not know.",
        "Identical to the bit.",
    ]
    assert said_of(same)[-2:] == ["Ranks: all 7 targets have the same", "Identical to the bit."]


def test_what_differs_is_said_whatever_else_is_not_known() -> None:
    told = said_of(Figure("a", 0.5, 0.75), Figure("b", None, 0.25), Figure("c", None, 0.25, "then"), ranks_differ=2)
    assert [line.split("  ")[-1].strip() for line in told[2:5]] == [
        "differs by +0.25",
        "only in one of them",
        "not known then",
    ]
    assert told[5:] == [
        "Ranks: 5 of 7 targets have the same",
        "Not compared: 1 figure that one of the two versions does not know.",
        "Not identical.",
    ]


def test_a_comparison_says_why_a_figure_is_in_one_run_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    method = named_method("sasrec-bce")

    def held(text: str, **_: Any) -> HeldRun:
        spec = CellSpec(method=method.name, model=method.model)
        return HeldRun(text, method.name, spec, None, {}, {})  # type: ignore[arg-type]

    pairs = (
        MetricPair("test.a", 0.5, 0.75),
        MetricPair("test.b", 0.5, 0.5),
        MetricPair("test.c", None, 0.5, "A"),
        MetricPair("test.d", 0.5, None),
        MetricPair("test.e", None, 0.5),
    )
    found = RunDifference({}, {}, {}, {}, {}, pairs, (), "there are none")
    monkeypatch.setattr(runs, "read_run", held)
    monkeypatch.setattr(runs, "difference", lambda a, b, home: found)
    assert runs.run_diff("a" * 32, "b" * 32, as_json=False) == 0
    told = [line for line in capsys.readouterr().out.split("\n") if line.startswith("test.")]
    assert [line.split("  ")[-1].strip() for line in told] == [
        "+0.25",
        "identical",
        "not known to A",
        "only in A",
        "only in B",
    ]
    assert found.to_dict()["metrics"][2] == asdict(pairs[2]) | {"difference": None}
