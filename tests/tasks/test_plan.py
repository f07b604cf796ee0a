"""The trainings of a job and their keys."""

from dataclasses import replace
from itertools import product

import pytest

from models.config import COUNT_BASED, WITHOUT_ATTENTION
from tasks.data_specs import CorruptSpec, ShoppersSpec, SourceSpec
from tasks.execution import Execution
from tasks.plan import Cell, Data, corruptions, parameters, plan
from tasks.snapshots import Snapshot
from tasks.specs import (
    METHODS,
    CellSpec,
    InjectedNoise,
    NoiseSpec,
    RobustnessSpec,
    named_method,
)
from tests.tasks.builders import EXECUTION


def corrupted(snapshot: Snapshot, ratio: float) -> Snapshot:
    """The snapshot under another digest, as one with noise in it has."""
    digest = f"{round(ratio * 100):02}".ljust(64, "0")
    return Snapshot(snapshot.path, snapshot.manifest.model_copy(update={"digest": digest}))


def noisy_cells(snapshot: Snapshot, where: str) -> tuple[Cell, ...]:
    """One method and seed at 0, 10 and 20 %."""
    noise = NoiseSpec.model_validate({"kind": "swap", "where": where, "ratios": (0.0, 0.1, 0.2)})
    spec = RobustnessSpec(noise=noise, methods=(named_method("sasrec-bce"),))
    snapshots = {ratio: corrupted(snapshot, ratio) if ratio else snapshot for ratio in noise.ratios}

    def data(cell: CellSpec) -> Data:
        return Data(snapshot, *(snapshots[put_in.ratio] for put_in in corruptions(cell.noise)))

    return plan(spec.cells(), data, EXECUTION)


def cells_of(snapshot: Snapshot, spec: RobustnessSpec, execution: Execution = EXECUTION) -> tuple[Cell, ...]:
    return plan(spec.cells(), lambda _: Data(snapshot, snapshot), execution)


def test_every_method_ratio_and_seed(tiny_snapshot: Snapshot) -> None:
    spec = RobustnessSpec(noise=NoiseSpec(ratios=(0.2, 0.0)), seeds=(3, 1))
    cells = cells_of(tiny_snapshot, spec)
    methods = [method.name for method in spec.methods]
    assert [(cell.ratio, cell.seed, cell.method) for cell in cells] == list(product((0.0, 0.2), (3, 1), methods))
    assert cells[0].label == f"{methods[0]}, noise 0%, seed 3"


def test_a_cell_is_trained_for_so_many_epochs_at_most_as_its_model_has(tiny_snapshot: Snapshot) -> None:
    spec = RobustnessSpec(methods=(named_method("v-sknn"), named_method("sasrec-bce")))
    assert {cell.method: cell.epochs for cell in cells_of(tiny_snapshot, spec)} == {
        "v-sknn": 1,
        "sasrec-bce": spec.training.epochs,
    }


def test_a_name_changes_no_key_and_what_changes_a_digit_does(tiny_snapshot: Snapshot) -> None:
    spec = RobustnessSpec(methods=(named_method("sasrec-bce"), named_method("sasrec-softmax")))
    first = cells_of(tiny_snapshot, spec)[0]

    def changed(cell: Cell) -> tuple[bool, bool]:
        return cell.train_key != first.train_key, cell.evaluate_key != first.evaluate_key

    renamed = spec.model_copy(update={"dataset": "other", "source": SourceSpec(shoppers=ShoppersSpec())})
    assert changed(cells_of(tiny_snapshot, renamed)[0]) == (False, False)
    for update in (
        {"seeds": (2,)},
        {"evaluation_seed": 1},
        {"training": replace(spec.training, learning_rate=0.5)},
        {"methods": spec.methods[1:]},
    ):
        assert changed(cells_of(tiny_snapshot, spec.model_copy(update=update))[0]) == (True, True)
    for other in ({"threads": 2}, {"stacked": 2}, {"compiled": True}, {"precision": "bf16"}):
        execution = replace(EXECUTION, **other)
        assert changed(cells_of(tiny_snapshot, spec, execution)[0]) == (True, True)


def test_only_what_can_be_stacked_is_known_by_how_many_are(tiny_snapshot: Snapshot) -> None:
    spec = RobustnessSpec(seeds=(1, 2), methods=tuple(named_method(name) for name in ("sasrec-bce", "rec-denoiser")))
    alone = cells_of(tiny_snapshot, spec)
    stacked = cells_of(tiny_snapshot, spec, replace(EXECUTION, stacked=32))
    for before, after in zip(alone, stacked, strict=True):
        plain = after.method == "sasrec-bce"
        assert after.stacked == (32 if plain else 1)
        assert (after.train_key != before.train_key) == plain
    kinds = {cell.kind for cell in stacked if cell.method == "sasrec-bce"}
    assert len(kinds) == 1
    assert len({cell.kind for cell in stacked}) == 2


def test_only_what_can_be_compiled_is_known_by_being_compiled(tiny_snapshot: Snapshot) -> None:
    """On a CPU full softmax is not."""
    names = ("sasrec-bce", "sasrec-softmax", "rec-denoiser")
    spec = RobustnessSpec(methods=tuple(named_method(name) for name in names))
    plain, compiled = (
        {cell.method: cell for cell in cells_of(tiny_snapshot, spec, replace(EXECUTION, compiled=asked))}
        for asked in (False, True)
    )
    for name in names:
        assert compiled[name].compiled == (name == "sasrec-bce")
        assert (compiled[name].train_key != plain[name].train_key) == (name == "sasrec-bce")


def test_parameters_are_flat_and_filterable(tiny_snapshot: Snapshot) -> None:
    spec = RobustnessSpec(methods=(named_method("rec-denoiser"),))
    values = parameters(cells_of(tiny_snapshot, spec)[-1])
    assert (values["method"], values["noise_ratio"], values["model.gate"]) == ("rec-denoiser", 0.2, "positional")
    assert all(isinstance(value, str | int | float) for value in values.values())


def test_noise_in_both_is_trained_on_and_ranked_with(tiny_snapshot: Snapshot) -> None:
    cells = noisy_cells(tiny_snapshot, "both")
    assert all(cell.snapshot == cell.histories for cell in cells)
    assert len({cell.snapshot.digest for cell in cells}) == 3
    assert {cell.clean.digest for cell in cells} == {tiny_snapshot.digest}
    assert [cell.label for cell in cells][1:] == [f"sasrec-bce, noise {ratio}% swap, seed 1" for ratio in (10, 20)]


def test_noise_in_training_is_ranked_with_clean_histories(tiny_snapshot: Snapshot) -> None:
    cells = noisy_cells(tiny_snapshot, "training")
    assert {cell.histories.digest for cell in cells} == {tiny_snapshot.digest}
    assert len({cell.train_key for cell in cells}) == len({cell.evaluate_key for cell in cells}) == 3
    assert cells[2].label == "sasrec-bce, noise 20% swap in training, seed 1"


def test_noise_in_histories_shares_one_training(tiny_snapshot: Snapshot) -> None:
    cells = noisy_cells(tiny_snapshot, "histories")
    assert {cell.snapshot.digest for cell in cells} == {tiny_snapshot.digest}
    assert len({cell.train_key for cell in cells}) == 1
    assert len({cell.evaluate_key for cell in cells}) == 3
    on_clean = [cell.on_clean_histories for cell in cells]
    assert {cell.evaluate_key for cell in on_clean} == {cells[0].evaluate_key}
    assert on_clean[0] is cells[0]
    values = parameters(cells[2])
    assert (values["noise_kind"], values["noise_where"]) == ("swap", "histories")
    assert parameters(cells[0])["noise_kind"] == "none"
    assert values["histories"] != values["snapshot"]


def test_without_noise_it_is_the_same_wherever_it_would_be_and_of_whatever_kind() -> None:
    for where in ("both", "training", "histories"):
        noise = InjectedNoise.model_validate({"kind": "swap", "where": where, "seed": 3})
        assert corruptions(noise) == (CorruptSpec(), CorruptSpec())


def test_a_setting_that_a_method_does_not_read_trains_it_no_second_time(tiny_snapshot: Snapshot) -> None:
    def keys(**model: float | str) -> dict[str, str]:
        methods = tuple(named_method(name, **model) for name in METHODS)
        cells = cells_of(tiny_snapshot, RobustnessSpec(methods=methods, noise=NoiseSpec(ratios=(0.0,))))
        return {cell.method: cell.train_key for cell in cells}

    usual = keys()
    networks = {name for name in METHODS if METHODS[name].get("backbone") not in COUNT_BASED}
    vectors = {"diffrec", "t-diffrec"}
    pooled = {"sasrec-softmax-knn", "denoised-softmax-knn"}
    attentive = {name for name in networks - vectors if METHODS[name].get("backbone") not in WITHOUT_ATTENTION}
    for changes, again in (
        ({"beta": 0.3}, {"rec-denoiser"}),
        ({"gate_logit": 1.0}, {"rec-denoiser", "contextual-gate"}),
        ({"gate_rate": 3.0}, {"rec-denoiser"}),
        ({"estimator": "ar", "gamma": 0.1, "jacobian_every": 2}, {"rec-denoiser", "contextual-gate"}),
        ({"gate_planted": 0.2}, {"contextual-gate"}),
        ({"gate_rank": 4}, {"contextual-gate"}),
        ({"gate_keep": 0.5}, {"fixed-random-mask", "head-drop", "layer-drop"}),
        ({"attention_alpha": 1.2}, {"adaptively-sparse"}),
        ({"attention_power": 1.0}, {name for name in METHODS if "noise_model" in METHODS[name]}),
        ({"negatives": 5}, {name for name in networks if METHODS[name].get("loss", "softmax") != "softmax"}),
        ({"gbce_t": 0.5}, {"sasrec-gbce"}),
        ({"masked": 0.4}, {"bert4rec"}),
        ({"last_masked": 0.3}, {"bert4rec"}),
        ({"max_interval": 9}, {"tisasrec"}),
        ({"user_dim": 10}, {"sse-pt"}),
        ({"diffusion_steps": 9}, {"dreamrec"}),
        ({"guidance": 1.0}, {"dreamrec"}),
        ({"diffrec_hidden": 9}, vectors),
        ({"diffrec_weights": "snr"}, vectors),
        ({"diffrec_oldest": 0.5}, set()),
        ({"keep_items": 0.5}, {"sse-pt"}),
        ({"caser_order": 3}, {"caser"}),
        ({"horizontal_filters": 3}, {"caser"}),
        ({"bpr_max_penalty": 0.5}, {"gru4rec-bpr-max"}),
        ({"heads": 5}, attentive),
        ({"norm": "pre"}, attentive - {"bert4rec"}),
        ({"contrast_crop": 0.5}, {"cl4srec"}),
        ({"contrast_temperature": 0.5}, {"cl4srec"}),
        ({"neighbours": 5}, {"v-sknn", "v-sknn-window", *pooled}),
        ({"neighbour_sample": 5}, {"v-sknn", "v-sknn-window", *pooled}),
        ({"neighbour_window": 5}, {"v-sknn-window", *pooled}),
        ({"dim": 60}, networks - vectors),
    ):
        assert {name for name, key in keys(**changes).items() if key != usual[name]} == again
    spec = RobustnessSpec()
    softmax = next(cell for cell in cells_of(tiny_snapshot, spec) if cell.method == "sasrec-softmax")
    shown = {name for name in parameters(softmax) if name.startswith("model.")}
    assert {"model.gate", "model.loss", "model.dim"} <= shown
    assert not shown & {"model.beta", "model.negatives", "model.estimator", "model.gate_logit"}


@pytest.mark.parametrize("field", ["methods", "seeds"])
def test_a_cell_asked_for_twice_is_refused(field: str) -> None:
    twice = getattr(RobustnessSpec(), field)[:1] * 2
    with pytest.raises(ValueError, match=r"same name|given twice"):
        RobustnessSpec.model_validate({field: twice})
