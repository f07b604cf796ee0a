"""From a study's file to its cells: what is crossed, what is left out and added, and what is refused."""

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.data_specs import ShoppersSpec
from tasks.errors import InputError
from tasks.home import Home
from tasks.sources.datasets import known
from tasks.sources.source import inspect_source, is_here
from tasks.specs import default_training
from tasks.study.expand import Study, read_study
from tasks.study.files import located, shipped, shipped_searches

PLAIN = """\
name: tiny
question: Does it?
base:
  model: {length: 20, dim: 16}
axes:
  noise.ratio: [0, 0.2]
  method: [sasrec-bce, rec-denoiser]
  seed: [1, 2]
reference: sasrec-bce
"""

Write = Callable[..., Study]


@pytest.fixture
def study(tmp_path: Path) -> Write:
    """`study(text, *overrides)` reads a study of that text."""

    def read(text: str = PLAIN, *overrides: str) -> Study:
        path = tmp_path / "tiny.yaml"
        path.write_text(text, encoding="utf-8")
        return read_study(path, overrides)

    return read


def refusal(read: Callable[[], Study]) -> str:
    with pytest.raises(InputError) as told:
        read()
    return str(told.value)


def test_axes_are_crossed_in_their_order(study: Write) -> None:
    cells = study().cells
    assert [(cell.spec.noise.ratio, cell.spec.method, cell.spec.seed) for cell in cells] == [
        (ratio, method, seed) for ratio in (0, 0.2) for method in ("sasrec-bce", "rec-denoiser") for seed in (1, 2)
    ]
    assert cells[-1].axes == {"noise.ratio": 0.2, "method": "rec-denoiser", "seed": 2}
    assert cells[-1].label == "rec-denoiser, noise 20%, seed 2"
    model = cells[-1].spec.model
    assert (model.gate, model.loss, model.length, model.dim) == ("positional", "bce", 20, 16)


def test_training_left_open_is_the_usual_one_of_the_log(study: Write) -> None:
    (cell, *_) = study(PLAIN + "include: []\n", "base.training.patience=3").cells
    assert cell.spec.training == default_training(None).from_dict(default_training(None).to_dict() | {"patience": 3})
    (cell, *_) = study(PLAIN, "base.source.path=log.csv").cells
    assert cell.spec.training == default_training(cell.spec.source)
    assert cell.spec.training.epochs == 100


def test_what_a_method_does_not_read_makes_no_cell_twice(study: Write) -> None:
    made = study(PLAIN, "axes.model.beta=[0.02, 0.1]", "axes.seed=[1]")
    assert [(cell.spec.method, cell.axes.get("model.beta"), cell.axes["noise.ratio"]) for cell in made.cells] == [
        (method, beta, ratio)
        for ratio in (0, 0.2)
        for method, beta in (("sasrec-bce", None), ("rec-denoiser", 0.02), ("rec-denoiser", 0.1))
    ]
    assert made.notes == ("sasrec-bce does not read model.beta: each such cell is there once",)
    assert made.cells[1].label == "rec-denoiser, beta 0.02, noise 0%, seed 1"


def test_a_mapping_of_a_shipped_methods_name_is_that_method_with_more_said_of_it(study: Write) -> None:
    more = "axes.method=[sasrec-bce, {name: bert4rec, masked: 0.3, training: {epochs: 7}}]"
    cell = study(PLAIN, more, "axes.seed=[1]", "axes.noise.ratio=[0]").cells[-1]
    assert (cell.spec.method, cell.spec.model.backbone, cell.spec.model.loss) == ("bert4rec", "bert4rec", "softmax")
    assert (cell.spec.model.masked, cell.spec.training.epochs) == (0.3, 7)
    told = refusal(lambda: study(PLAIN, "axes.method=[sasrec-bce, {name: bert4rec, loss: bce}]"))
    assert "the method bert4rec fixes loss to 'softmax': with 'bce' it needs a name of its own" in told
    told = refusal(lambda: study(PLAIN, "axes.method=[{name: sasrec-bce, gate: positional}]"))
    assert "the method sasrec-bce fixes gate to 'none'" in told


def test_the_base_does_not_make_another_method_of_a_named_one(study: Write) -> None:
    text = PLAIN.replace("  method: [sasrec-bce, rec-denoiser]\n", "")
    told = refusal(lambda: study(text, "base.method=bert4rec", "base.model.loss=bce", "reference=bert4rec"))
    assert "model.loss is 'bce' here, and the method bert4rec fixes it to 'softmax'" in told
    told = refusal(lambda: study(PLAIN, "base.model.noise_model=co-occurrence"))
    assert "the method sasrec-bce fixes it to 'none'" in told
    told = refusal(lambda: study(PLAIN, "base.model.gamma=0.001"))
    assert "model.gamma is 0.001 here, and the method sasrec-bce fixes it to 0.0" in told


def test_a_data_set_that_no_source_stands_for_is_refused(study: Write) -> None:
    assert "'ml1m' names a data set, and no source says which log" in refusal(lambda: study(PLAIN, "base.dataset=ml1m"))
    assert "no source says" in refusal(lambda: study(PLAIN, "axes.dataset=[shoppers, mine]"))
    assert study(PLAIN, "base.dataset=mine", "base.source.shoppers.users=40").cells[0].spec.dataset == "mine"


def test_a_public_data_set_over_a_files_own_log_is_its_log(study: Write) -> None:
    text = PLAIN.replace("base:\n", "base:\n  dataset: mine\n  source: {path: log.csv}\n")
    assert {cell.spec.source.path for cell in study(text).cells} == {"log.csv"}
    cell = study(text, "base.dataset=ml-1m").cells[0]
    assert (cell.spec.dataset, cell.spec.source.path) == ("ml-1m", "ml-1m")
    for path in ("base.source.path=copy.csv", "base.source={path: copy.csv}"):
        cell = study(text, "base.dataset=ml-1m", path).cells[0]
        assert (cell.spec.dataset, cell.spec.source.path) == ("ml-1m", "copy.csv")
        assert study(text, path).cells[0].spec.dataset == "copy"


def test_what_the_base_says_of_the_generated_log_is_not_said_of_another(study: Write) -> None:
    text = PLAIN.replace("base:\n", "base:\n  source: {shoppers: {users: 40}}\n")
    for path in ("base.source.path=log.csv", "base.source={path: log.csv}", "base.dataset=ml-100k"):
        source = study(text, path).cells[0].spec.source
        assert source.path in ("log.csv", "ml-100k")
        assert source.shoppers == ShoppersSpec()
    both = "axes.dataset=[shoppers, {name: mine, source: {path: log.csv}}]"
    sources = {cell.spec.dataset: cell.spec.source for cell in study(text, both).cells}
    assert (sources["shoppers"].path, sources["shoppers"].shoppers.users) == (None, 40)
    assert (sources["mine"].path, sources["mine"].shoppers) == ("log.csv", ShoppersSpec())
    said = study(PLAIN.replace("base:\n", "base:\n  source: {path: log.csv, shoppers: {users: 40}}\n")).cells[0].spec
    with pytest.raises(InputError, match=r"source\.shoppers says what the generated log is to be, .* is log"):
        is_here(said.source, home=Home.from_environment())


def test_columns_of_a_data_set_that_has_none_are_refused_before_anything_runs(study: Write) -> None:
    cells = study(PLAIN, "base.source.columns.order=position", "axes.dataset=[shoppers, ml-100k]").cells
    with pytest.raises(InputError, match="--order-col position names a column of a log, and the generated shoppers"):
        inspect_source(cells[0].spec.source)


def test_addresses_that_differ_in_their_queries_are_logs_of_their_own(study: Write) -> None:
    address = "https://host/log.csv?year="
    sets = ", ".join(f"{{name: of-{year}, source: {{path: '{address}{year}'}}}}" for year in (2023, 2024))
    cells = study(PLAIN, f"axes.dataset=[{sets}]", "axes.seed=[1]", "axes.noise.ratio=[0]").cells
    assert [cell.spec.source.path for cell in cells] == [f"{address}2023", f"{address}2024"] * 2


def test_an_address_keeps_its_secrets_for_the_fetch_and_shows_them_nowhere(study: Write) -> None:
    one, other = (f"https://ann:s3cret@host/{name}.csv?sig=deadbeef" for name in ("one", "other"))
    text = PLAIN + f"exclude:\n  - {{source.path: '{other}', method: rec-denoiser}}\n"
    made = study(text, f"axes.source.path=['{one}', '{other}']", "axes.noise.ratio=[0]", "axes.seed=[1]")
    paths = [(cell.spec.method, cell.spec.source.path) for cell in made.cells]
    assert sorted(paths, key=str) == sorted(
        [("sasrec-bce", one), ("rec-denoiser", one), ("sasrec-bce", other)], key=str
    )
    assert made.cells[0].axes["source.path"] == "https://host/one.csv"
    shown = made.spec.model_dump_json() + str(made.axes) + str([(cell.label, cell.axes) for cell in made.cells])
    in_base = study(PLAIN, f"base.source.path={one}")
    assert in_base.cells[0].spec.source.path == one
    shown += in_base.spec.model_dump_json()
    shown += refusal(lambda: study(PLAIN, f"axes.source.path=['{other}']", f"base.source.path={one}"))
    shown += refusal(lambda: study(PLAIN, f"base.sourse.path={one}"))
    assert not re.search("ann|s3cret|deadbeef", shown)
    assert shown.count("https://host/one.csv") >= 4


def test_an_axis_of_one_setting_holds_what_it_says(study: Write) -> None:
    bundle = "axes.dataset=[{name: a, source: {path: a.csv}, training: {epochs: 30}}]"
    (cell,) = study(PLAIN, "axes.training.epochs=[5]", bundle, "axes.seed=[1]", "axes.noise.ratio=[0]",
                    "axes.method=[sasrec-bce]").cells  # fmt: skip
    assert (cell.label, cell.spec.training.epochs) == ("sasrec-bce, epochs 5, noise 0%, seed 1", 5)


def test_what_is_set_and_reaches_no_cell_is_refused(study: Write) -> None:
    bundle = "axes.dataset=[{name: a, source: {path: a.csv}, training: {epochs: 30}}]"
    told = refusal(lambda: study(PLAIN, bundle, "base.training.epochs=2"))
    assert "--set base.training.epochs=2: training.epochs is 2 here, and every cell has another from an axis" in told
    assert "every cell has another" in refusal(lambda: study(PLAIN, "base.noise.ratio=0.1"))


def test_of_two_ways_to_set_the_same_the_later_holds(study: Write) -> None:
    made = study(PLAIN, "base.training.epochs=5", "base.training={epochs: 9}")
    assert {cell.spec.training.epochs for cell in made.cells} == {9}
    made = study(PLAIN, "base.training={epochs: 9}", "base.training.epochs=5")
    assert {cell.spec.training.epochs for cell in made.cells} == {5}


def test_a_filter_is_a_methods_own_or_an_axis(study: Write) -> None:
    own = "axes.method=[sasrec-bce, {name: filtered, loss: bce, filter: {by: co-occurrence, below: 0.3}}]"
    made = study(PLAIN, own, "axes.seed=[1]", "axes.noise.ratio=[0.2]")
    assert [(cell.spec.method, cell.spec.filter.by, cell.spec.filter.below) for cell in made.cells] == [
        ("sasrec-bce", "none", 0.5), ("filtered", "co-occurrence", 0.3),
    ]  # fmt: skip
    axes = ("axes.filter.by=[none, co-occurrence]", "axes.filter.below=[0.3, 0.5]", "axes.seed=[1]")
    made = study(PLAIN, *axes, "axes.noise.ratio=[0.2]", "axes.method=[sasrec-bce]")
    assert [cell.label for cell in made.cells] == [
        "sasrec-bce, filtered by none, noise 20%, seed 1",
        "sasrec-bce, filtered by co-occurrence, filtered below 0.3, noise 20%, seed 1",
        "sasrec-bce, filtered by co-occurrence, filtered below 0.5, noise 20%, seed 1",
    ]
    assert made.notes == ("cells without a filter do not read filter.below: each such cell is there once",)
    with pytest.raises(InputError, match=r"no cell reads filter\.below: name a noise model"):
        study(PLAIN, "base.filter.below=0.3")


def test_a_filters_reach_is_read_by_what_looks_at_neighbours(study: Write) -> None:
    axes = ("axes.filter.reach=[4, 8]", "axes.seed=[1]", "axes.noise.ratio=[0.2]", "axes.method=[sasrec-bce]")
    made = study(PLAIN, "axes.filter.by=[popularity, co-occurrence]", *axes)
    assert [(cell.spec.filter.by, cell.axes.get("filter.reach")) for cell in made.cells] == [
        ("popularity", None), ("co-occurrence", 4), ("co-occurrence", 8),
    ]  # fmt: skip
    assert made.notes == ("cells filtered by popularity do not read filter.reach: each such cell is there once",)
    for by in ("popularity", "own-score"):
        told = refusal(lambda by=by: study(PLAIN, f"base.filter.by={by}", *axes))  # type: ignore[misc]
        assert "nothing reads the axis filter.reach" in told
        told = refusal(lambda by=by: study(PLAIN, f"base.filter={{by: {by}, reach: 4}}"))  # type: ignore[misc]
        assert f"--set base.filter={{by: {by}, reach: 4}}: no cell reads filter.reach" in told


def test_what_is_said_of_noise_where_there_is_none_is_refused(study: Write) -> None:
    for setting in ("kind=swap", "where=histories", "seed=3"):
        told = refusal(lambda said=setting: study(PLAIN, "axes.noise.ratio=[0]", f"base.noise.{said}"))  # type: ignore[misc]
        name = setting.partition("=")[0]
        assert told == f"--set base.noise.{setting}: no cell reads noise.{name}: give a share above 0, noise.ratio"
    own = PLAIN.replace("axes:\n", "  noise: {kind: swap}\naxes:\n")
    assert "line 5: no cell reads noise.kind" in refusal(lambda: study(own.replace("[0, 0.2]", "[0]")))
    assert len(study(own, "axes.noise.ratio=[0]").cells) == 4, "the file's own words stay where its noise is taken out"
    assert study(own, "base.noise.seed=3").cells[-1].spec.noise.seed == 3


def test_without_noise_its_kind_makes_no_cell_twice(study: Write) -> None:
    made = study(PLAIN, "axes.noise.kind=[swap, insert]", "axes.seed=[1]", "axes.method=[sasrec-bce]")
    assert [(cell.spec.noise.ratio, cell.axes.get("noise.kind")) for cell in made.cells] == [
        (0, None), (0.2, "swap"), (0.2, "insert"),
    ]  # fmt: skip


def test_excludes_take_cells_and_one_that_takes_none_is_told(study: Write) -> None:
    made = study(PLAIN + "exclude:\n  - {method: rec-denoiser, noise.ratio: 0}\n  - {seed: 7}\n")
    assert {(cell.spec.method, cell.spec.noise.ratio) for cell in made.cells} == {
        ("sasrec-bce", 0.0), ("sasrec-bce", 0.2), ("rec-denoiser", 0.2),
    }  # fmt: skip
    (note,) = made.notes
    assert note.endswith("tiny.yaml, line 12: this exclude matches no cell")


def test_includes_are_crossed_with_the_axes_that_they_do_not_name(study: Write) -> None:
    made = study(PLAIN + "include:\n  - {noise.ratio: 0.1, noise.kind: swap, method: sasrec-softmax}\n")
    added = made.cells[8:]
    assert [(cell.spec.noise.ratio, cell.spec.noise.kind, cell.spec.method, cell.spec.seed) for cell in added] == [
        (0.1, "swap", "sasrec-softmax", 1), (0.1, "swap", "sasrec-softmax", 2),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("base.model.loss=softmx", "--set base.model.loss=softmx: there is no loss 'softmx': did you mean 'softmax'?"),
        ("base.model.backbone=sasreg", "there is no backbone 'sasreg': did you mean 'sasrec'?"),
        ("axes.model.gate=[none, position]", "there is no gate 'position': did you mean 'positional'?"),
        ("axes.model.estimator=[arm, rienforce]", "there is no estimator 'rienforce': did you mean 'reinforce'?"),
        ("base.model.loss=hope", "there is no loss 'hope': choose from bce, bpr, "),
    ],
)
def test_a_part_of_a_model_that_does_not_exist_is_refused_with_the_nearest(
    study: Write, override: str, told: str
) -> None:
    gated = PLAIN.replace("[sasrec-bce, rec-denoiser]", "[{name: own, gate: positional}]").replace(
        "reference: sasrec-bce\n", ""
    )
    if "gate" in override:
        gated = gated.replace("{name: own, gate: positional}", "{name: own}")
    assert told in refusal(lambda: study(gated, override))


def test_credit_by_token_goes_with_a_bidirectional_backbone(study: Write) -> None:
    made = study(
        PLAIN.replace("sasrec-bce", "bert4rec"),
        "axes.method=[bert4rec, {name: own, backbone: bert4rec, gate: positional}]",
    )
    assert {cell.spec.model.estimator for cell in made.cells if cell.spec.method == "own"} == {"arm-per-token"}


def test_a_bundle_sets_several_settings_under_one_name(study: Write) -> None:
    text = PLAIN + "include: []\n"
    wide = "axes.size=[{name: small, model.dim: 8}, {name: wide, model: {dim: 32}, training: {epochs: 3}}]"
    made = study(text, wide, "axes.seed=[1]", "axes.noise.ratio=[0]")
    assert [(cell.axes["size"], cell.spec.model.dim) for cell in made.cells] == [
        ("small", 8), ("wide", 32), ("small", 8), ("wide", 32),
    ]  # fmt: skip
    assert made.cells[1].spec.training.epochs == 3
    assert made.axes["size"] == ("small", "wide")


def test_data_sets_bring_their_source_and_settings(study: Write) -> None:
    two = "axes.dataset=[ml-100k, {name: mine, source: {path: log.csv, columns: {time: ts}}, training: {epochs: 7}}]"
    made = study(PLAIN, two, "axes.seed=[1]", "axes.noise.ratio=[0]", "axes.method=[sasrec-bce]")
    public, mine = (cell.spec for cell in made.cells)
    assert (public.dataset, public.source.path, public.training.epochs) == ("ml-100k", "ml-100k", 100)
    assert (mine.dataset, mine.source.path, mine.source.columns.time) == ("mine", "log.csv", "ts")
    assert mine.training.epochs == 7
    assert made.cells[0].label == "ml-100k, sasrec-bce, noise 0%, seed 1"


def test_a_log_set_over_the_files_is_named_after_itself(study: Write) -> None:
    text = PLAIN.replace("base:\n", "base:\n  dataset: ml-1m\n")
    assert study(text).cells[0].spec.source.path == "ml-1m"
    spec = study(text, "base.source.path=../data/ML-100K.u.data").cells[0].spec
    assert (spec.dataset, spec.source.path) == ("ml-100k", "../data/ML-100K.u.data")
    spec = study(text, "base.source.path=log.csv", "base.dataset=shop").cells[0].spec
    assert (spec.dataset, spec.source.path) == ("shop", "log.csv")


def test_a_named_method_may_be_that_of_every_cell(study: Write) -> None:
    text = PLAIN.replace("  method: [sasrec-bce, rec-denoiser]\n", "")
    text = text.replace("base:\n", "base:\n  method: rec-denoiser\n")
    made = study(text.replace("reference: sasrec-bce", "reference: rec-denoiser"))
    assert {cell.spec.model.gate for cell in made.cells} == {"positional"}


def test_a_method_of_ones_own(study: Write) -> None:
    made = study(PLAIN, "axes.method=[sasrec-bce, {name: open, gate: positional, beta: 0}]", "axes.seed=[1]")
    assert made.cells[1].spec.model.beta == 0
    assert made.cells[1].spec.method == "open"


def test_a_recommender_from_outside_the_project_is_a_method(study: Write) -> None:
    own = "own: 'studies/own.py:MovingAverage', heads: 4"
    text = PLAIN.replace("[sasrec-bce, rec-denoiser]", f"[sasrec-bce, {{name: mine, {own}}}]")
    mine = [cell.spec.model for cell in study(text).cells if cell.spec.method == "mine"]
    assert {(model.backbone, model.heads, model.dim) for model in mine} == {("own", 4, 16)}
    assert "class MovingAverage" in mine[0].own_code
    told = refusal(lambda: study(text.replace("MovingAverage", "Nothing")))
    assert "tiny.yaml, line 7: model: own studies/own.py:Nothing: the file has no class or function Nothing" in told
    told = refusal(lambda: study(text.replace("heads: 4", "gate: positional")))
    assert "tiny.yaml, line 7: model: the backbone own has no attention for gate to work on" in told


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("noise.ratio: [0, 0.2]", "noise.ration: [0]", 6, "'noise.ration': did you mean 'noise.ratio'?"),
        ("  model: {length: 20", "  model: {lenght: 20", 4, "'model.lenght': did you mean 'model.length'?"),
        ("rec-denoiser]", "rec-denoisr]", 7, "there is no method 'rec-denoisr': did you mean 'rec-denoiser'?"),
        ("reference:", "referense:", 9, "there is no part of a study 'referense': did you mean 'reference'?"),
        ("question:", "name:", 2, "'name' stands there twice"),
        ("[0, 0.2]", "[0, 0.7]", 6, "noise.ratio: Input should be less than or equal to 0.5"),
        ("[1, 2]", "[1, 1]", 8, "the axis seed has 1 twice: its cells would be duplicates"),
        ("reference: sasrec-bce", "reference: sasrec", 9, "no cell of this study is the reference 'sasrec'"),
        ("reference: sasrec-bce", "reference: rec", 9, "reference 'rec': method is one of sasrec-bce, rec-denoiser"),
        ("seed: [1, 2]", "model.negatives: []", 8, "the axis model.negatives has to be a list of values"),
        ("dim: 16}", "dim: 16, gate: positional}", 4, "model.gate is 'positional' here, and the method"),
        ("reference:", "execution: {thread: 2}\nreference:", 9, "did you mean 'threads'?"),
        ("dim: 16}", "dim: 15}", 4, "dim (15) must be a multiple of heads (2)"),
        ("name: tiny", "name: [", None, "this is no YAML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(study: Write, old: str, new: str, line: int | None, message: str) -> None:
    told = refusal(lambda: study(PLAIN.replace(old, new, 1)))
    assert message in told
    assert "tiny.yaml" in told
    if line is not None:
        assert f"tiny.yaml, line {line}: " in told


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("axes.sed=[1]", "--set axes.sed=[1]: there is no setting 'sed': did you mean 'seed'?"),
        ("seed=[1]", "write it as base.SETTING=VALUE"),
        ("axes=3", "write it as base.SETTING=VALUE"),
        ("base.noise.ratio=lots", "noise.ratio"),
        ("base.dataset=2024", "it is read as 2024, which is no text: put it in quotes"),
        ("axes.dataset=[007]", "it is read as 7, which is no text: put it in quotes"),
        ("base.source.columns.user=0", "columns.user: it is read as 0, which is no text: put it in quotes"),
        ("base.source.columns.time=on", "columns.time: it is read as true, which is no text: put it in quotes"),
        ("execution.threads=0", "threads: Input should be greater than or equal to 1"),
        ("include=3", "include has to be a list"),
        ("exclude={seed: 1}", "exclude has to be a list"),
        ("base.model.beta=1e999", "1e999 is no number that can be reckoned with"),
        ("axes.seed=[.nan]", ".nan is no number that can be reckoned with"),
        ("axes.seed=[2024-13-45]", "'2024-13-45' looks like a date or a number, and is none: put it in quotes"),
        ("axes.seed=&all [1, *all]", "this holds itself, or is nested too deeply to be read"),
        ("reference={}", "no cell of this study is the reference {}"),
        ("reference={colour: null}", "'colour': None}: there is no axis 'colour': there are method, seed"),
        ("reference={method: [sasrec-bce]}", "method is one of sasrec-bce, rec-denoiser"),
        ("reference={metod: sasrec-bce}", "there is no axis 'metod': did you mean 'method'?"),
        ("reference={method: sasrec-bce, seed: 9}", "'seed': 9}: seed is one of 1, 2"),
    ],
)
def test_an_override_that_cannot_be(study: Write, override: str, message: str) -> None:
    text = PLAIN.replace("  noise.ratio: [0, 0.2]\n", "")
    told = refusal(lambda: study(text, override))
    assert told.startswith(f"--set {override}")
    assert message in told


@pytest.mark.parametrize(
    ("overrides", "place", "message"),
    [
        (["base.training.epochs=0"], "--set base.training.epochs=0", "training: epochs must be at least 1"),
        (
            ["base.prepare.split={kind: users, targets: first}"],
            "--set base.prepare.split={kind: users, targets: first}",
            "prepare.split.targets",
        ),
        (["base.training={epochs: 0, patience: 3}"], "--set base.training={epochs: 0, patience: 3}", "epochs"),
        (["base.model.dim=15"], "--set base.model.dim=15", "dim (15) must be a multiple of heads (2)"),
        (["base.model.heads=3"], "--set base.model.heads=3", "dim (16) must be a multiple of heads (3)"),
        (["axes.training.epochs=[1, 0]", "base.training.epochs=5"], "--set axes.training.epochs=[1, 0]", "epochs"),
        (["base.training.batch_size=9"], "tiny.yaml, line 5", "training: epochs must be at least 1"),
    ],
)
def test_what_is_wrong_is_found_where_it_was_set(study: Write, overrides: list[str], place: str, message: str) -> None:
    epochs = 0 if "batch_size" in overrides[0] else 2
    text = PLAIN.replace("axes:\n", f"  training: {{epochs: {epochs}}}\naxes:\n")
    told = refusal(lambda: study(text, *overrides))
    assert f"{place}: " in told
    assert message in told
    assert "there twice" not in told


def test_a_part_with_nothing_in_it_is_as_if_it_were_left_out(study: Write) -> None:
    added = PLAIN + "include:\n  - {noise.ratio: 0.1, seed: 1}\nexclude:\n"
    assert len(study(added).cells) == 10
    assert study(added, "include=").cells == study().cells
    assert study(added, "include=[]").cells == study().cells


def test_a_file_in_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes(PLAIN.replace("Does it?", "Hält es?").encode("latin-1"))
    told = refusal(lambda: read_study(path))
    assert told == f"{path}, line 2: this is no UTF-8: save the file in that encoding"


def test_a_file_that_may_not_be_read_is_refused_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    path = tmp_path / "locked.yaml"
    path.write_text(PLAIN, encoding="utf-8")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert refusal(lambda: read_study(path)) == f"{path} cannot be read: Permission denied"


def test_the_same_experiment_under_two_names_is_refused(study: Write) -> None:
    assert "are the same experiment" in refusal(lambda: study(PLAIN, "axes.method=[sasrec-bce, {name: twin}]"))
    twice = PLAIN + "include:\n  - {method: sasrec-bce}\n"
    assert "is there twice" in refusal(lambda: study(twice))


def test_two_cells_of_one_name_that_differ_are_refused(study: Write) -> None:
    longer = "include:\n  - {method: {name: sasrec-bce, training: {epochs: 7}}, noise.ratio: 0, seed: 1}\n"
    told = refusal(lambda: study(PLAIN + longer))
    assert "two cells are called 'sasrec-bce, noise 0%, seed 1' and are not the same" in told


def test_an_oracle_without_noise_is_the_same_cell(study: Write) -> None:
    made = study(PLAIN, "axes.noise.taken_out=[false, true]", "axes.seed=[1]", "axes.method=[sasrec-bce]")
    assert [(cell.spec.noise.ratio, cell.spec.noise.taken_out) for cell in made.cells] == [
        (0.0, False), (0.2, False), (0.2, True),
    ]  # fmt: skip
    assert [cell.label for cell in made.cells] == [
        f"sasrec-bce, noise {noise}, seed 1" for noise in ("0%", "20%", "20% taken out")
    ]


def test_an_axis_that_nothing_reads_is_refused(study: Write) -> None:
    told = refusal(lambda: study(PLAIN, "axes.method=[sasrec-bce]", "axes.model.beta=[0.1, 0.2]"))
    assert "nothing reads the axis model.beta" in told
    told = refusal(lambda: study(PLAIN, "axes.method=[sasrec-bce]", "base.model.gate_logit=1"))
    assert "no method of this study reads model.gate_logit" in told


def test_later_overrides_win_and_numbers_are_numbers(study: Write) -> None:
    made = study(PLAIN, "axes.seed=3", "axes.seed=4", "base.training.learning_rate=1e-3", "name=other")
    assert {cell.spec.seed for cell in made.cells} == {4}
    assert made.cells[0].spec.training.learning_rate == 0.001
    assert made.spec.name == "other"


def test_every_shipped_study_is_whole_and_says_how_to_run_it() -> None:
    files = shipped()
    assert {"quick", "figure-2", "figure-3", "figure-4", "ablation", "noise-kinds", "noisy-histories"} <= {
        path.stem for path in files
    }
    for path in files:
        made = read_study(path)
        assert made.spec.name == path.stem
        assert made.spec.question.endswith("?")
        header = path.read_text(encoding="utf-8").partition("name:")[0]
        assert f"#   rec-denoiser study studies/{path.name}\n" in header
        says_what_it_takes(header)
    for path in shipped_searches():
        says_what_it_takes(path.read_text(encoding="utf-8").partition("name:")[0])


def test_a_learned_gate_never_stands_without_the_control_that_learns_nothing() -> None:
    """Except in `quick`, which is there to be waited for: a fourth method would make its five minutes seven."""
    learned = {"positional", "contextual"}
    without = []
    for path in shipped():
        gates: dict[str, set[str]] = {}
        for cell in read_study(path).cells:
            gates.setdefault(cell.spec.dataset, set()).add(cell.spec.model.gate)
        without += [path.stem for found in gates.values() if found & learned and "fixed-random" not in found]
    assert without == ["quick"]


def test_every_shipped_study_names_logs_that_there_are() -> None:
    """A source without a folder is a public data set, or no log at all: the generated shoppers."""
    for path in shipped():
        for cell in read_study(path).cells:
            source = cell.spec.source.path
            assert source is None or known(source) is not None, f"{path.name}: {source}"


def says_what_it_takes(header: str) -> None:
    """A time that a person can wait for or plan with, and the memory."""
    assert re.search(r"\b(minutes?|hours?|days)\b", header), header
    assert re.search(r"\d GB\b", header), header


def test_a_shipped_study_is_found_by_its_name_and_a_misspelt_one_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quick").mkdir()  # as beside the reports
    assert located("quick").name == "quick.yaml"
    with pytest.raises(InputError, match="did you mean quick"):
        located("quik")
    with pytest.raises(InputError, match="this machine knows of none"):
        located("~nobody-of-this-name/quick.yaml")


def test_an_own_recommender_is_asked_for_as_on_the_command_line(study: Write) -> None:
    """By its file and what in it makes one, as well as by a name that it is given."""
    made = study(PLAIN, "axes.method=[sasrec-bce, 'studies/own.py:MovingAverage(heads=4)']")
    assert {cell.spec.method: cell.spec.model.own for cell in made.cells} == {
        "sasrec-bce": "",
        "moving-average-heads-4": "studies/own.py:MovingAverage(heads=4)",
    }
