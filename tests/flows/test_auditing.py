"""What a terminal shows of an audit."""

from dataclasses import asdict
from typing import Any

from flows.auditing import told
from tasks.audit.findings import Suspect
from tasks.statistics.estimates import Estimate


def outcome(*labels: str | None) -> dict[str, Any]:
    """An audit in which as many interactions are told of as there are labels."""
    suspects = [
        asdict(Suspect(f"user {number}", "tea", None, number, 0.9, "elsewhere never near the 2 items around it", label))
        for number, label in enumerate(labels)
    ]
    share = asdict(Estimate(0.109, 0.074, 0.135, 0.95, "users", 100))
    found = {"judged": 10_819, "left_alone": 200, "share": share, "auroc": {}, "labelled": 0, "suspects": suspects,
             "suspicious_users": [], "suspicious_items": []}  # fmt: skip
    return {"dataset": "shop", "found": found, "cleaned": None, "gains": [], "report": "a.html", "folder": "a"}


def test_the_answer_is_one_sentence_at_the_top() -> None:
    said = "\n".join(told(outcome(None)))
    assert said.startswith(
        "\nNoise in shop: 10.9 % (7.4 to 13.5 %), with its 95 % interval,\n"
        "of the 10,819 of 11,019 interactions that may be trained on, which were judged.\n"
    )
    assert "The first: elsewhere never near the 2 items around it." in said


def test_labels_are_shown_where_a_log_has_any() -> None:
    assert "LABEL" not in "\n".join(told(outcome(None, None)))
    said = "\n".join(told(outcome(None, "misclick")))
    assert "LABEL" in said
    assert "misclick" in said


def test_it_is_said_that_the_report_has_more_than_is_shown() -> None:
    assert "are shown here" not in "\n".join(told(outcome(*[None] * 10)))
    said = "\n".join(told(outcome(*[None] * 12)))
    assert "of the first 12 of each, 10 of which are shown here, and why each is there" in said
    assert "user 9" in said
    assert "user 10" not in said


def test_ids_and_reasons_stay_on_their_lines() -> None:
    found = outcome(None)
    found["found"]["suspects"][0] |= {"user": "a\nb", "reason": "elsewhere never near \x1b[2J"}
    said = "\n".join(told(found))
    assert r"a\nb" in said
    assert r"elsewhere never near \x1b[2J" in said
