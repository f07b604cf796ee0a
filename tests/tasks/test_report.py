"""Tables and plots for people."""

import xml.etree.ElementTree as ElementTree

import pytest

from tasks.compare import COMPARED, Cell, Row, compare
from tasks.report import learning_curve, markdown, plain, table
from tasks.reporting.sights import noise_words
from tasks.specs import InjectedNoise, NoiseSpec
from tasks.study.result import Noise


def rows(value: float = 0.123456, **noise: str) -> tuple[Row, ...]:
    spec = NoiseSpec.model_validate(noise)
    return compare(
        Cell("sasrec-bce", ratio, spec.described(ratio), seed, dict.fromkeys(COMPARED, value))
        for ratio in (0.0, 0.2)
        for seed in (1, 2)
    )


def test_the_table_shows_absolute_values_and_retention() -> None:
    assert table(rows())[1] == {
        "Method": "sasrec-bce",
        "Noise": "20%",
        "NDCG@10": "0.1235 ± 0.0000",
        "Hit@10": "0.1235 ± 0.0000",
        "NDCG@10 s100": "0.1235 ± 0.0000",
        "Hit@10 s100": "0.1235 ± 0.0000",
        "Retention": "100.0%",
    }
    assert table(rows(0.0))[0]["Retention"] == "–"


def test_the_table_says_what_noise_it_was_and_where_if_not_the_usual() -> None:
    swapped = rows(kind="swap", where="histories")
    assert [row["Noise"] for row in table(swapped)] == ["0%", "20% swap in histories"]
    assert [row["Noise"] for row in table(rows(where="training"))] == ["0%", "20% in training"]
    assert "20% swap in histories" in plain(swapped)
    assert "20% swap in histories" in markdown(swapped)


@pytest.mark.parametrize(("ratio", "told"), [(0.0, "0%"), (0.07, "7%"), (0.2, "20%"), (0.204, "20.4%"), (4e-3, "0.4%")])
def test_a_ratio_is_told_as_it_was_given(ratio: float, told: str) -> None:
    """Two that round to the same whole number are two rows, and noise that is there is not called 0%."""
    assert InjectedNoise(ratio=ratio).described == told
    assert noise_words(Noise("replace", ratio, "both")) == told.replace("%", " % replace")


def test_the_terminals_columns_line_up() -> None:
    head, rule, *body = plain(rows()).splitlines()
    assert head.split() == ["Method", "Noise", "NDCG@10", "Hit@10", "NDCG@10", "s100", "Hit@10", "s100", "Retention"]
    assert {len(line) for line in body} == {len(rule)} == {len(head)}


def test_markdown_has_a_cell_for_every_heading_and_says_what_they_mean() -> None:
    lines = markdown(rows()).splitlines()
    assert len({line.count("|") for line in lines[:4]}) == 1
    assert "worse to begin with can retain more" in lines[-1]


def test_the_learning_curve_is_a_picture_even_where_validation_is_rare() -> None:
    history = [
        {"epoch": epoch, "metrics": {"train.loss": 1 / epoch}
         | ({"validation.full_unseen.ndcg_at_10": 0.1 * epoch} if epoch % 2 == 0 else {})}
        for epoch in range(1, 6)
    ]  # fmt: skip
    root = ElementTree.fromstring(learning_curve(history, title="a & b < c", best_epoch=4))
    assert root.tag.endswith("svg")
