"""Searches: what a file may say, which trials follow from it, and what is written of them."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import InputError
from tasks.home import PROJECT_ROOT, Home
from tasks.reporting.tuning import write_tuning_report
from tasks.study.dryrun import GUESSED
from tasks.study.expand import read_study
from tasks.study.files import shipped, shipped_searches
from tasks.study.outcome import RESULT_FILE, TUNE_FILE, refuse_taken, study_folder
from tasks.study.settings import experiment
from tasks.tuning.dryrun import describe_tuning, foreseen_tuning
from tasks.tuning.expand import read_tuning
from tasks.tuning.outcome import following_study, publish_tuning, read_tuned
from tasks.tuning.result import TrialResult, TuneResult, best_of
from tasks.tuning.samplers import TpeSampler
from tasks.tuning.search import Search
from tasks.tuning.space import Choices, Range
from tasks.tuning.specs import SamplerSpec
from tests.tasks.builders import EXECUTION
from tests.tasks.tuning.builders import TEXT, result, trials_of, value_of


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "some.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("metric=test.full_unseen.ndcg_at_10", "not of validation"),
        ("metric=promotion.full_unseen.ndcg_at_10", "not of validation"),
        ("space.model.droput=[0.1, 0.2]", "did you mean 'model.dropout'"),
        ("space.noise.ratio=[0, 0.1]", "has to be the same for all its trials"),
        ("space.seed=[1, 2]", "write it under seeds"),
        ("space.model.dim={low: 8, hi: 16}", "did you mean 'high'"),
        ("space.model.dim={low: 8, high: 16.5}", "takes whole numbers"),
        ("space.model.dim={low: 8, high: 16, log: 1}", "log is true or false, not 1"),
        ("space.model.dim={low: 8, high: many}", "high has to be a number, not 'many'"),
        ("space.model.dim={low: 8}", "high has to be a number, and is missing"),
        ("space.model.dropout={low: 0.3, high: 0.3}", "low (0.3) has to be less than high (0.3)"),
        ("space.model.dropout={low: 0, high: 0.3, log: true}", "a logarithmic range begins above 0, not at 0"),
        ("space.model.dropout={low: 0.1, high: 0.3, step: 0.4}", "a step of 0.4 does not fit between 0.1 and 0.3"),
        ("space.model.dropout={low: 0.1, high: 0.3, step: 0.1, log: true}", "a logarithmic range has no steps"),
        ("space.model.dim=[16, 33]", "must be a multiple of heads"),
        ("space.model.loss={low: 0, high: 1}", "write a list of values"),
        ("space.model.dropout=[0.1]", "nothing to choose from"),
        ("space.model.gbce_t=[0.5, 2.0]", "must lie in [0, 1]"),
        ("space.model.masked=[0.1, 0.2]", "no method of this search reads model.masked"),
        ("spaces.rec-denoisr={}", "did you mean 'rec-denoiser'"),
        ("spaces.sasrec-bce={model.beta: [0.1, 0.2]}", "does not read model.beta"),
        ("spaces.sasrec-bce={model.loss: [bce, bpr]}", "fixes model.loss"),
        ("methods=[sasrec-bce, sasrec-bce]", "there twice"),
        ("base.seed=3", "seeds of its own"),
        ("sampler.sed=3", "did you mean 'seed'"),
        ("trials=1", "trials"),
        ("base.noise={ratio: 0, kind: swap}", "no cell reads noise.kind: give a share above 0"),
        ("base.filter.below=0.3", "no cell reads filter.below: name a noise model"),
        ("base.training.epochs=0", "training: epochs must be at least 1"),
        ("base.model.heads=3", "dim (16) must be a multiple of heads (3)"),
        ("trails=9", "write it as"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(file: Path, override: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        read_tuning(file, [override])
    assert said in str(refused.value)
    assert str(refused.value).startswith("--set ")


def test_an_unknown_part_is_refused_with_its_line(file: Path) -> None:
    file.write_text(TEXT.replace("trials:", "trails:"), encoding="utf-8")
    with pytest.raises(InputError, match=r"line 18: there is no part of a search 'trails': did you mean 'trials'"):
        read_tuning(file)


def test_a_method_searches_what_it_reads(file: Path) -> None:
    tuning = read_tuning(file)
    spaces = {method.name: set(method.space) for method in tuning.methods}
    common = {"training.learning_rate", "model.dropout"}
    assert spaces == {
        "sasrec-bce": common,
        "rec-denoiser": common | {"model.beta"},
        "sasrec-gbce": common | {"model.negatives"},
    }
    assert any("sasrec-gbce: its usual model.negatives, 256, lies outside" in note for note in tuning.notes)


def test_an_own_recommender_is_searched_with_what_its_brackets_say(file: Path, tmp_path: Path) -> None:
    """As it comes it is the one that its method names, which is not what names it in a method of this project."""
    own = f"{PROJECT_ROOT / 'studies' / 'own.py'}:MovingAverage"
    others = [f"{own}(dropout=0.4)", f"{own}(heads=4)"]
    of_own = [f"methods=[sasrec-bce, {{name: mine, own: '{own}'}}]", f"spaces.mine={{model.own: {[own, *others]}}}"]
    tuning = read_tuning(file, [*of_own, f"space.model.own={others}", "space.model.dropout=[0.1, 0.3]", "trials=4"])
    assert "sasrec-bce fixes model.own to none: it is not searched there" in tuning.notes
    trials = trials_of(tuning, 1)
    assert trials[0].settings["model.own"] == own
    assert {own} < {trial.settings["model.own"] for trial in trials} <= {own, *others}
    written = tmp_path / "tuned.yaml"
    written.write_text(following_study(result(tuning), tuning), encoding="utf-8")
    named = {cell.spec.model.own for cell in read_study(written).cells if cell.spec.method.startswith("mine")}
    assert own in named <= {own, *others}


def test_a_method_of_the_file_can_be_left_out(file: Path) -> None:
    tuning = read_tuning(file, ["methods=[rec-denoiser]"])
    assert [method.name for method in tuning.methods] == ["rec-denoiser"]
    assert "sasrec-gbce has a space and is no method of this search" in tuning.notes


def test_a_method_of_ones_own_can_be_left_out_but_not_misspelt(file: Path) -> None:
    renamed = TEXT.replace("sasrec-gbce]", "{name: mine, loss: gbce}]").replace("sasrec-gbce:", "mine:")
    file.write_text(renamed, encoding="utf-8")
    assert "mine has a space and is no method of this search" in read_tuning(file, ["methods=[rec-denoiser]"]).notes
    with pytest.raises(InputError, match="did you mean 'mine'"):
        read_tuning(file, ["spaces.mne={model.dim: [8, 16]}"])


@pytest.mark.parametrize("kind", ["random", "tpe"])
def test_the_same_file_gives_the_same_trials_and_the_method_as_it_comes_is_the_first(file: Path, kind: str) -> None:
    tuning = read_tuning(file, [f"sampler.kind={kind}", "sampler.startup=4"])
    for number, method in enumerate(tuning.methods):
        trials = trials_of(tuning, number)
        assert [trial.number for trial in trials] == list(range(10))
        assert trials[0].settings == method.own(method.space)
        assert trials[0].specs[0] == method.cell({}, seed=1)
        assert [spec.seed for spec in trials[3].specs] == [1, 5]
        assert len({experiment(trial.specs[0]) for trial in trials}) == 10
        assert [trial.settings for trial in trials_of(tuning, number)] == [trial.settings for trial in trials]
        for trial in trials[1:]:
            assert all(dimension.holds(trial.settings[name]) for name, dimension in method.space.items())
            assert trial.specs[0].noise.ratio == 0.2
    more = read_tuning(file, [f"sampler.kind={kind}", "sampler.startup=4", "trials=13"])
    assert [trial.settings for trial in trials_of(more)][:10] == [trial.settings for trial in trials_of(tuning)]
    other = read_tuning(file, [f"sampler.kind={kind}", "sampler.seed=1"])
    assert trials_of(other)[1].settings != trials_of(tuning)[1].settings


def test_what_a_method_tries_depends_on_no_other_method(file: Path) -> None:
    alone = read_tuning(file)
    swapped = read_tuning(file, ["methods=[sasrec-gbce, rec-denoiser]"])
    assert [trial.settings for trial in trials_of(alone, 1)] == [trial.settings for trial in trials_of(swapped, 1)]


def test_tpe_learns_from_the_trials_before(file: Path) -> None:
    many = ["trials=40", "sampler.startup=8"]
    learnt = trials_of(read_tuning(file, [*many, "sampler.kind=tpe"]))[20:]
    drawn = trials_of(read_tuning(file, [*many, "sampler.kind=random"]))[20:]
    assert sum(map(value_of, learnt)) / len(learnt) > sum(map(value_of, drawn)) / len(drawn) + 0.2


def test_a_space_that_holds_no_more_ends_the_search(file: Path) -> None:
    text = TEXT.replace("  training.learning_rate: {low: 1e-4, high: 1e-1, log: true}\n", "")
    file.write_text(text, encoding="utf-8")
    for kind in ("random", "tpe"):
        tuning = read_tuning(file, [f"sampler.kind={kind}"])
        search = Search(tuning.methods[0], tuning)
        proposed = [trial for _ in range(4) for trial in search.propose()]
        assert sorted(trial.settings["model.dropout"] for trial in proposed) == [0.1, 0.3, 0.5]
        assert proposed[0].settings == {"model.dropout": 0.3}
        assert search.exhausted
        assert search.to_come == 0


def test_ranges_keep_to_their_limits_and_kinds() -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    whole = [Range(1, 64, log=True, whole=True).drawn(rng) for _ in range(500)]
    assert all(isinstance(value, int) and 1 <= value <= 64 for value in whole)
    assert {1, 64} <= set(whole)
    assert sum(value <= 8 for value in whole) > 200, "half of the powers of two lie below"
    stepped = Range(0.1, 0.55, step=0.1)
    assert stepped.all == (0.1, 0.2, 0.3, 0.4, 0.5)
    assert {stepped.drawn(rng) for _ in range(200)} == set(stepped.all)
    assert not stepped.holds(0.25)
    assert not Choices((1, 2)).holds(True)


def test_a_value_that_was_not_drawn_by_the_sampler_teaches_it_wherever_its_steps_lie() -> None:
    stepped = Range(0.0625, 1.0625, step=0.125)
    assert stepped.all == tuple(0.0625 + 0.125 * number for number in range(9))
    sampler = TpeSampler({"training.weight_decay": stepped}, seed=0, spec=SamplerSpec(startup=1))
    for value in stepped.all:
        sampler.hear({"training.weight_decay": value}, value)
    drawn = sampler.ask()[0]["training.weight_decay"]
    assert drawn in stepped.all
    assert drawn > 0.75, "what was heard says that the highest are best"


def test_the_study_that_follows_has_the_best_settings_and_fresh_seeds(file: Path, tmp_path: Path) -> None:
    tuning = read_tuning(file)
    found = result(tuning)
    written = tmp_path / "tuned.yaml"
    written.write_text(following_study(found, tuning), encoding="utf-8")
    study = read_study(written)
    assert study.spec.name == "some-tested"
    assert not {cell.spec.seed for cell in study.cells} & {1, 5}
    assert study.spec.reference == "sasrec-bce-tuned"
    wanted = {}
    for method, held in zip(tuning.methods, found.methods, strict=True):
        best = found.best(held)
        assert best is not None
        for seed in (2, 3, 4):
            wanted[method.name, seed] = experiment(method.cell({}, seed=seed))
            wanted[f"{method.name}-tuned", seed] = experiment(method.cell(best.settings, seed=seed))
    assert {(cell.spec.method, cell.spec.seed): experiment(cell.spec) for cell in study.cells} == wanted
    assert TuneResult.from_json(found.to_json()) == found
    handed_on = replace(found, file=str(file)).to_hand_on()
    assert handed_on.file == file.name
    assert str(tmp_path) not in handed_on.to_json()


def test_the_study_that_follows_finds_the_log_from_everywhere(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "log.csv").touch()
    monkeypatch.chdir(tmp_path)
    tuning = read_tuning(file, ["base.source={path: log.csv}"])
    written = tmp_path / "tuned.yaml"
    written.write_text(following_study(result(tuning), tuning), encoding="utf-8")
    assert {str(cell.spec.source.path) for cell in read_study(written).cells} == {str(tmp_path / "log.csv")}
    assert tuning.spec.base["source.path"] == "log.csv", "a result holds it as it was given"


def test_neither_a_search_nor_the_study_that_follows_shows_an_addresss_secrets(file: Path, tmp_path: Path) -> None:
    address = "https://ann:s3cret@host/log.csv?sig=deadbeef"
    tuning = read_tuning(file, [f"base.source={{path: '{address}'}}"])
    assert tuning.source_cell.source.path == address
    text = following_study(result(tuning), tuning)
    written = tmp_path / "tuned.yaml"
    written.write_text(text, encoding="utf-8")
    assert {cell.spec.source.path for cell in read_study(written).cells} == {"https://host/log.csv"}
    assert "give it whole where it needs them, with\n#   --set base.source.path=ADDRESS" in text
    assert not re.search("ann|s3cret|deadbeef", text + result(tuning).to_json() + tuning.spec.model_dump_json())
    assert "ADDRESS" not in following_study(result(read_tuning(file)), read_tuning(file))


def test_a_method_that_nothing_beat_is_in_the_study_once(file: Path, tmp_path: Path) -> None:
    tuning = read_tuning(file)
    found = result(tuning)
    first = replace(found, methods=(replace(found.methods[0], best=0), *found.methods[1:]))
    written = tmp_path / "tuned.yaml"
    written.write_text(following_study(first, tuning), encoding="utf-8")
    study = read_study(written)
    assert study.spec.reference == "sasrec-bce"
    assert len(study.cells) == 5 * 3


def test_what_a_method_is_spared_of_the_noise_is_in_its_trials_and_in_the_study(file: Path, tmp_path: Path) -> None:
    oracle = "{name: oracle, loss: softmax, noise: {taken_out: true}}"
    tuning = read_tuning(file, [f"methods=[sasrec-bce, rec-denoiser, sasrec-gbce, {oracle}]"])
    assert all(spec.noise.taken_out for trial in trials_of(tuning, 3) for spec in trial.specs)
    assert not trials_of(tuning, 0)[0].specs[0].noise.taken_out
    written = tmp_path / "tuned.yaml"
    written.write_text(following_study(result(tuning), tuning), encoding="utf-8")
    spared = {cell.spec.method for cell in read_study(written).cells if cell.spec.noise.taken_out}
    assert spared == {"oracle", "oracle-tuned"}


def test_neither_a_study_nor_a_search_takes_the_others_place(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for file in (RESULT_FILE, TUNE_FILE):
        refuse_taken("mine", file, home=home)
    for held, writes, said in ((TUNE_FILE, RESULT_FILE, "of a search"), (RESULT_FILE, TUNE_FILE, "of a study")):
        folder = study_folder(held, home=home)
        folder.mkdir(parents=True)
        (folder / held).touch()
        refuse_taken(held, held, home=home)
        with pytest.raises(InputError, match=said):
            refuse_taken(held, writes, home=home)


def test_the_best_is_the_highest_and_of_equal_ones_the_first() -> None:
    def trial(number: int, value: float | None) -> TrialResult:
        return TrialResult("some", number, {}, value, ())

    assert best_of((trial(0, 0.1), trial(1, None), trial(2, 0.3), trial(3, 0.3))) == 2
    assert best_of((trial(0, None),)) is None


def test_the_report_is_one_file_that_shows_no_test_figure(file: Path, tmp_path: Path) -> None:
    found = result(read_tuning(file))
    page = write_tuning_report(found, tmp_path).read_text(encoding="utf-8")
    assert "http" not in page.replace("http-equiv", "")
    assert not re.search(r"(test|promotion)\.(full|sampled)", page)
    assert page.count('class="chart"') == 5, "best so far, and a chart a setting"
    assert "diverged" in page
    assert "rec-denoiser study tuned.yaml" in page
    assert "tuned.yaml is the file beside this page" in page
    assert "var/studies" not in page
    rows = (tmp_path / "tables" / "trials.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + 3 * 10 * 2
    again: dict[str, Any] = {"page": write_tuning_report(found, tmp_path).read_text(encoding="utf-8")}
    assert again["page"] == page


def test_a_usual_value_without_a_logarithm_has_its_place_on_a_logarithmic_axis(file: Path, tmp_path: Path) -> None:
    tuning = read_tuning(
        file, ["space.training.weight_decay={low: 1e-4, high: 1e-1, log: true}", "methods=[sasrec-bce]"]
    )
    found = result(tuning)
    assert found.trials[0].settings["training.weight_decay"] == 0.0
    page = write_tuning_report(found, tmp_path).read_text(encoding="utf-8")
    chart = page[page.index("by training.weight_decay") :].partition("</svg>")[0]
    points = re.findall(r'class="point"', chart)
    assert "sasrec-bce, trial 0, weight decay 0:" in chart
    assert ">0</text>" in chart, "a tick of its own"
    assert ">0.001</text>" in chart, "and round ones for the others"
    assert len(points) == 9, "every trial that has a value"


def test_a_search_is_kept_where_its_report_cannot_be_made(file: Path, tmp_path: Path) -> None:
    tuning, home = read_tuning(file), Home(tmp_path / "home")
    found = result(tuning)

    def fail(result: TuneResult, folder: Path) -> None:
        (folder / "half.html").touch()
        raise ZeroDivisionError("no trial is left")

    folder, failure, _ = publish_tuning(found, tuning, write_tuning_report, home=home)
    assert failure is None
    assert {path.name for path in folder.iterdir()} >= {"tune.json", "tuned.yaml", "report.html"}
    folder, failure, _ = publish_tuning(found, tuning, fail, home=home)
    assert {path.name for path in folder.iterdir()} == {"tune.json", "tuned.yaml"}
    assert read_tuned("some", home=home) == found
    assert str(failure) == "no trial is left"


def test_a_dry_run_says_which_search_of_other_settings_is_kept(file: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    publish_tuning(result(read_tuning(file)), read_tuning(file), write_tuning_report, home=home)
    for overrides in ([], ["question=Really?"], ["trials=3"]):
        tuning = read_tuning(file, overrides)
        foretold = describe_tuning(tuning, foreseen_tuning(tuning, EXECUTION, home=home), EXECUTION, home=home)
        notes = [line for line in foretold if line.startswith("Note: ")]
        _, _, earlier = publish_tuning(result(tuning), tuning, write_tuning_report, home=home)
        kept = [] if earlier is None else [f"Note: once this has run, {earlier}"]
        assert notes == [*(f"Note: {note}" for note in tuning.notes), *kept]
    assert earlier is not None
    assert earlier.settings == ("trials",)


def test_shipped_searches_can_be_read_and_are_no_studies() -> None:
    files = shipped_searches()
    assert {"tune-shoppers", "tune-ml-100k"} <= {path.stem for path in files}
    assert not set(files) & set(shipped())
    for path in files:
        assert read_tuning(path).spec.name == path.stem


def test_before_the_data_is_there_a_dry_run_guesses_what_a_known_log_takes(file: Path, tmp_path: Path) -> None:
    def told(*overrides: str) -> list[str]:
        tuning, home = read_tuning(file, overrides), Home(tmp_path / "home")
        searches = foreseen_tuning(tuning, EXECUTION, home=home)
        assert not home.snapshots.exists(), "it makes nothing"
        return list(describe_tuning(tuning, searches, EXECUTION, home=home))

    shoppers = told()
    assert sum(line.startswith("  trial") and "× about" in line for line in shoppers) >= 3
    assert any(line.startswith("Time:      about") for line in shoppers)
    assert GUESSED in shoppers
    log = tmp_path / "log.csv"
    log.write_text("user_id,item_id\nu,i\n", encoding="utf-8")
    own = told(f"base.source={{path: {log}}}")
    assert "Time, memory: not known before the data is read" in own
    assert GUESSED not in own
