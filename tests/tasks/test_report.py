"""Tables and plots for people."""

import xml.etree.ElementTree as ElementTree
from io import StringIO

import numpy as np
import pandas as pd
import pytest

from tasks.compare import COMPARED, Cell, Row, compare
from tasks.detect import verdicts_on
from tasks.report import learning_curve, markdown, plain, roc_chart, roc_csv, table
from tasks.reporting.sights import noise_words
from tasks.specs import InjectedNoise, NoiseSpec
from tasks.study.result import Noise


def rows(value: float = 0.123456, **noise: str) -> tuple[Row, ...]:
    spec = NoiseSpec.model_validate(noise)
    cells = (
        Cell("sasrec-bce", ratio, spec.described(ratio), seed, dict.fromkeys(COMPARED, value))
        for ratio in (0.0, 0.2)
        for seed in (1, 2)
    )
    return compare(cells, least=0.0)


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


def test_what_failed_is_named_below_the_table_that_lacks_it() -> None:
    failed = {
        "rec-denoiser, noise 0%, seed 1": "diverged",
        "rec-denoiser, noise 20%, seed 1": "the time limit was reached",
    }
    assert plain(rows(), failed).endswith(
        "\n\nFailed:\n  rec-denoiser, noise 0%, seed 1: diverged\n"
        "  rec-denoiser, noise 20%, seed 1: the time limit was reached"
    )
    assert "\n\nFailed:\n\n- rec-denoiser, noise 0%, seed 1: diverged\n- " in markdown(rows(), failed)
    assert "Failed" not in plain(rows(), {}) + markdown(rows(), {})


@pytest.mark.parametrize(("ratio", "told"), [(0.0, "0%"), (0.07, "7%"), (0.2, "20%"), (0.204, "20.4%"), (4e-3, "0.4%")])
def test_a_ratio_is_told_as_it_was_given(ratio: float, told: str) -> None:
    """Two that round to the same whole number are two rows, and noise that is there is not called 0%."""
    assert InjectedNoise(ratio=ratio).described == told
    assert noise_words(Noise("replace", ratio, "both")) == told.replace("%", " % replace")


def test_the_terminals_columns_line_up() -> None:
    head, rule, *body = plain(rows()).partition("\n\n")[0].splitlines()
    assert head.split() == ["Method", "Noise", "NDCG@10", "Hit@10", "NDCG@10", "s100", "Hit@10", "s100", "Retention"]
    assert {len(line) for line in body} == {len(rule)} == {len(head)}


def test_the_terminal_says_what_its_headings_mean_in_lines_that_fit() -> None:
    told = plain(rows()).partition("\n\n")[2]
    assert max(map(len, told.splitlines())) <= 88
    sampled = "s100 ranks it among 100 unseen items drawn with replacement"
    for what in ("± is the standard deviation over seeds", sampled, "Retention is the share"):
        assert what in " ".join(told.split())
        assert what in markdown(rows())


def test_markdown_has_a_cell_for_every_heading_and_says_what_they_mean() -> None:
    lines = markdown(rows()).splitlines()
    assert len({line.count("|") for line in lines[:4]}) == 1
    assert "worse to begin with can retain more" in lines[-1]


def test_the_area_under_a_roc_curve_as_it_is_kept_and_drawn_is_the_one_that_is_told() -> None:
    draw = np.random.default_rng(0)
    noisy = draw.random(2000) < 0.3
    columns = {"user": np.arange(2000) // 20, "noise": noisy, "noise_kind": np.where(noisy, "a, b", None)}
    scores = {name: draw.normal(0.0, 1.0, 2000) + shift * noisy for name, shift in (("own_score", 1.5), ("gate", -0.5))}
    verdicts = list(verdicts_on(pd.DataFrame(columns | scores)))
    kept = pd.read_csv(StringIO(roc_csv(verdicts)))
    root = ElementTree.fromstring(roc_chart(verdicts, title="a & b < c"))
    lines = [path for path in root.iter() if path.get("stroke-width") == "2"]
    words = [text.text or "" for text in root.iter() if text.tag.endswith("text")]
    assert len(lines) == len(verdicts) == 2
    for verdict, line in zip(verdicts, lines, strict=True):
        area = verdict.auroc.value
        own = kept[kept["detector"] == verdict.detector]
        assert own["auroc"].unique() == pytest.approx([area], abs=1e-6)
        assert np.trapezoid(own["true_positive_rate"], own["false_positive_rate"]) == pytest.approx(area, abs=3e-3)
        x, y = np.array([pair.split() for pair in line.get("d", "")[1:].split("L")], dtype=float).T
        across, up = (x - x.min()) / (x.max() - x.min()), (y.max() - y) / (y.max() - y.min())
        assert np.trapezoid(up, across) == pytest.approx(area, abs=5e-3)
        assert any(f": {area:.3f} ({verdict.auroc.low:.3f} to {verdict.auroc.high:.3f})" in word for word in words)


def test_the_learning_curve_is_a_picture_even_where_validation_is_rare() -> None:
    history = [
        {"epoch": epoch, "metrics": {"train.loss": 1 / epoch}
         | ({"validation.full_unseen.ndcg_at_10": 0.1 * epoch} if epoch % 2 == 0 else {})}
        for epoch in range(1, 6)
    ]  # fmt: skip
    root = ElementTree.fromstring(learning_curve(history, title="a & b < c", best_epoch=4))
    assert root.tag.endswith("svg")
