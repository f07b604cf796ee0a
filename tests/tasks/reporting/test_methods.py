"""What a page says that each method is."""

import html
import re
from dataclasses import replace
from pathlib import Path

from tasks.reporting.page import write_report
from tests.tasks.study_results import METHODS, study


def test_methods_are_told_with_their_own_training_and_not_with_what_all_share(tmp_path: Path) -> None:
    result, _ = study(methods=METHODS, kinds=("replace",))
    own = {"epochs": 60, "learning_rate": 0.0025}
    cells = [
        replace(cell, training=own if cell.method == METHODS[0] else own | {"learning_rate": 0.001})
        for cell in result.cells
    ]
    write_report(replace(result, cells=tuple(cells)), None, tmp_path)
    methods = (tmp_path / "report.html").read_text().split('id="methods"')[1].split("</section>")[0]
    assert methods.count("learning rate 0.0025") == 1
    assert methods.count("learning rate 0.001.") == len(METHODS) - 1
    assert "epochs" not in methods.split("</dl>")[0]


def test_a_term_that_is_not_in_the_objective_is_not_told(tmp_path: Path) -> None:
    result, _ = study(methods=("plain", "better"), ratios=(0.0,), seeds=(1,))
    gammas = {"plain": 0.0, "better": 0.01}
    cells = [replace(cell, model={**cell.model, "gamma": gammas[cell.method]}) for cell in result.cells]
    write_report(replace(result, cells=tuple(cells)), None, tmp_path)
    methods = (tmp_path / "report.html").read_text().split('id="methods"')[1].split("</section>")[0]
    assert re.findall("γ [\\d.]*\\d", methods) == ["γ 0.01"]


def test_a_methods_sentence_says_what_is_left_out_of_its_log(tmp_path: Path) -> None:
    names = ("plain", "filtered", "either", "oracle", "filtered-oracle")
    result, _ = study(methods=names, ratios=(0.25,), seeds=(1, 2))
    left_out = {"by": "co-occurrence", "below": 0.4, "reach": 8, "folds": 5, "seed": 0}
    cells = [
        replace(
            cell,
            model=result.cells[0].model,
            filter=left_out if "filtered" in cell.method or (cell.method, cell.seed) == ("either", 2) else {},
            taken_out="oracle" in cell.method,
        )
        for cell in result.cells
    ]
    text = html.unescape(write_report(replace(result, cells=tuple(cells)), None, tmp_path).read_text())
    told = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", text.split('id="methods"')[1].split("</section>")[0]))
    opening = "SASRec, trained with binary cross-entropy against sampled negatives"
    rest = "dim 50, length 50"
    by = "filtered by the co-occurrence of items, which leaves out what is genuine with a probability below 0.4"
    known = "the log without what it is told, as an oracle, is noise"
    assert told == {
        "plain": f"{opening}: {rest}.",
        "filtered": f"{opening}, on the log {by}: {rest}, filter reach 8, filter folds 5, filter seed 0.",
        "either": f"{opening}, on the log as it is or on the log {by}: {rest}, "
        "filter reach 8, filter folds 5, filter seed 0.",
        "oracle": f"{opening}, on {known}: {rest}.",
        "filtered-oracle": f"{opening}, on {known}, then {by}: {rest}, filter reach 8, filter folds 5, filter seed 0.",
    }
