"""The figures that an audit's page shows, of findings that are known: those of `tests.tasks.pages.audit_page`."""

from pathlib import Path

import pytest

from tasks.audit.findings import BINS
from tests.tasks.pages import audit_page
from tests.tasks.reading import cells_of, content_of, rows_of, words_of


def test_the_page_shows_the_findings(tmp_path: Path) -> None:
    content = content_of(audit_page(tmp_path))
    paragraphs = [words_of(paragraph) for paragraph in content.iter("p")]
    question, byline, share = paragraphs[:3]
    assert question == "About 11.7 % (10.1 to 12.9 %) of the 40,000 judged interactions of shop look like noise."
    assert byline == "40,000 of 41,800 interactions judged · 900 users · 500 items"
    assert share == (
        "The estimated share of noise is 11.7 % (10.1 to 12.9 %), 95 % interval in brackets: 9.0 % like uniform draws, "
        "2.7 % like popular draws. With as much noise planted in the rest of the log, the estimate read 1.2 points too "
        "high, which the interval takes in. The interactions’ own probabilities add up to 4,680 noisy ones (11.7 %)."
    )
    columns = [
        f"{number / BINS:.2f} to {(number + 1) / BINS:.2f}: {12_000 // (1 + number):,}" for number in range(BINS)
    ]
    (chart,) = content.findall(".//svg[@role='img']")
    assert chart.findtext("desc") == "; ".join(columns)
    assert [group.findtext("title") for group in chart.findall("g[title]")] == columns

    assert "The log labels 4,000 of the judged interactions (10.0 %) as noise, and" in " ".join(paragraphs)
    labels = [("all", "0.930 (0.920 to 0.940)", "0.93"), ("replace", "0.950 (0.945 to 0.955)", "0.95")]
    assert [
        (words_of(row["Kind"]), words_of(row["AUROC"]), row["AUROC"].get("data-value"))
        for row in cells_of(content, "labels")
    ] == labels

    assert rows_of(content, "interactions")[1] == {
        "Rank": "2",
        "User": "someone-0001",
        "Item": "a rather long identifier of an item, number 000001",
        "Time": "2023-11-14 22:13",
        "Position": "1",
        "Probability": "0.980",
        "Label": "replace",
        "Why": "stands beside the items around it nowhere else in the log, and few people have it",
    }
    for name, id, mean in (("User", "someone", "0.890"), ("Item", "something", "0.790")):
        assert rows_of(content, f"{name.lower()}s")[1] == {
            "Rank": "2",
            name: f"{id}-0001",
            "Events": "41",
            "Expected noise": "13.5",
            "Mean probability": mean,
            "Why": "half of it is noise",
        }


@pytest.mark.parametrize(
    ("reads_high", "told"),
    [(-0.0306, "the estimate read 3.1 points too low, which"), (0.0004, "the estimate read right, which")],
)
def test_the_page_says_how_the_estimate_fared_where_the_answer_is_known(
    reads_high: float, told: str, tmp_path: Path
) -> None:
    assert told in words_of(content_of(audit_page(tmp_path, reads_high=reads_high)))
