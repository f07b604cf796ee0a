"""The trainings of a job and their keys."""

from dataclasses import replace
from itertools import product

import pytest

from tasks.execution import Execution
from tasks.plan import Cell, parameters, plan
from tasks.snapshots import Snapshot
from tasks.specs import NoiseSpec, RobustnessSpec

EXECUTION = Execution("cpu", "some processor", 1, "float32", "3.11.0", {"torch": "2.13.0"})


def cells_of(snapshot: Snapshot, spec: RobustnessSpec, execution: Execution = EXECUTION) -> tuple[Cell, ...]:
    return plan(spec, snapshot, dict.fromkeys(spec.noise.ratios, snapshot), execution)


def test_every_method_ratio_and_seed(tiny_snapshot: Snapshot) -> None:
    spec = RobustnessSpec(noise=NoiseSpec(ratios=(0.2, 0.0)), seeds=(3, 1))
    cells = cells_of(tiny_snapshot, spec)
    methods = [method.name for method in spec.methods]
    assert [(cell.ratio, cell.seed, cell.method) for cell in cells] == list(product((0.0, 0.2), (3, 1), methods))
    assert cells[0].label == "sasrec-bce, noise 0%, seed 3"


def test_a_name_changes_no_key_and_what_changes_a_digit_does(tiny_snapshot: Snapshot) -> None:
    spec = RobustnessSpec()
    first = cells_of(tiny_snapshot, spec)[0]

    def changed(cell: Cell) -> tuple[bool, bool]:
        return cell.train_key != first.train_key, cell.evaluate_key != first.evaluate_key

    renamed = spec.model_copy(update={"dataset": "other"})
    assert changed(cells_of(tiny_snapshot, renamed)[0]) == (False, False)
    for update in (
        {"seeds": (2,)},
        {"evaluation_seed": 1},
        {"training": replace(spec.training, learning_rate=0.5)},
        {"methods": spec.methods[1:]},
    ):
        assert changed(cells_of(tiny_snapshot, spec.model_copy(update=update))[0]) == (True, True)
    assert changed(cells_of(tiny_snapshot, spec, replace(EXECUTION, threads=2))[0]) == (True, True)


def test_parameters_are_flat_and_filterable(tiny_snapshot: Snapshot) -> None:
    spec = RobustnessSpec()
    values = parameters(spec, cells_of(tiny_snapshot, spec)[-1])
    assert (values["method"], values["noise_ratio"], values["model.gate"]) == ("rec-denoiser", 0.2, "positional")
    assert all(isinstance(value, str | int | float) for value in values.values())


@pytest.mark.parametrize("field", ["methods", "seeds"])
def test_a_cell_asked_for_twice_is_refused(field: str) -> None:
    twice = getattr(RobustnessSpec(), field)[:1] * 2
    with pytest.raises(ValueError, match=r"same name|given twice"):
        RobustnessSpec.model_validate({field: twice})
