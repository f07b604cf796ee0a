"""The command line: what it understands, what it says, and how it ends."""

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections import Counter
from contextlib import redirect_stderr
from dataclasses import fields
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.cli import _parser as parser
from flows.cli import main
from flows.explaining import _told as explained
from flows.requested import offerable_spec, recommend_spec, robustness_spec
from flows.running import open_ui, told_of_one
from models.config import ModelConfig, TrainingConfig
from tasks.data_specs import (
    LeaveOneOut,
    PrepareSpec,
    SessionSplit,
    ShoppersSpec,
    SourceSpec,
    TemporalSplit,
    UserSplit,
)
from tasks.errors import InputError
from tasks.explain import explain, history_given
from tasks.home import PROJECT_ROOT, Home
from tasks.offerable import resolved
from tasks.shoppers import simulate
from tasks.specs import METHODS, OfferableSpec, RecommendSpec, RobustnessSpec, default_training
from tasks.track import Tracker
from tests.command_lines import words
from tests.flows.commands import environment, rec_denoiser
from tests.tasks.explanations import ITEMS, held

COMMANDS: Any = next(action.choices for action in parser()._actions if action.choices)
"""By name each command's parser, which its options' help texts hang on."""
SLOW_TO_LOAD = {"torch", "prefect", "mlflow", "duckdb", "pandas", "numpy", "pydantic", "great_expectations"}


def spec_of(*arguments: str) -> RobustnessSpec:
    return robustness_spec(parser().parse_args(["run", *arguments]))


def refusal(*arguments: str) -> str:
    """The one line with which a command line is refused."""
    said = io.StringIO()
    with redirect_stderr(said), pytest.raises(SystemExit) as ended:
        parser().parse_args(arguments)
    assert ended.value.code == 2
    assert said.getvalue().count("\n") == 1
    return said.getvalue()


def test_a_state_folder_in_nobodys_home_is_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REC_DENOISER_HOME", "~nobody-of-this-name/state")
    assert main(["snapshots"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("rec-denoiser: error: REC_DENOISER_HOME: ~nobody-of-this-name/state begins")
    assert told.count("\n") == 1


def test_memory_is_handed_on_to_this_process_and_its_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REC_DENOISER_MEMORY", "9GB")
    assert spec_of("--memory", "512MB") == spec_of()
    assert os.environ["REC_DENOISER_MEMORY"] == "512MB"
    assert "'5' is no amount of memory" in refusal("run", "--memory", "5")


def test_no_options_ask_for_the_default_job() -> None:
    assert spec_of() == RobustnessSpec()
    assert recommend_spec(parser().parse_args(["recommend"])) == RecommendSpec()


def test_options_reach_the_spec() -> None:
    spec = spec_of(
        *("--source", "data/My Log.CSV.gz", "--user-col", "who", "--item-col", "what", "--time-col", "when"),
        *("--order-col", "nth", "--noise-col", "why", "--k-core", "5", "--noise", "0.2, 0", "--noise-seed", "3"),
        *("--methods", "rec-denoiser,sasrec-bce", "--dim", "64", "--beta", "0.1", "--norm", "pre"),
        *("--seeds", "1,2", "--epochs", "7", "--learning-rate", "1e-4", "--threads", "2", "--time-limit", "1.5"),
        *("--side-by-side", "1", "--evaluation-seed", "9", "--device", "cpu"),
    )
    assert spec.dataset == "my-log"
    assert spec.source.model_dump(include={"path", "columns"}) == {
        "path": "data/My Log.CSV.gz",
        "columns": {"user": "who", "item": "what", "time": "when", "order": "nth", "rating": None, "noise": "why"},
    }
    assert (spec.prepare.user_core, spec.noise.ratios, spec.noise.seed) == (5, (0.0, 0.2), 3)
    assert [method.name for method in spec.methods] == ["rec-denoiser", "sasrec-bce"]
    assert {(method.model.dim, method.model.beta, method.model.norm) for method in spec.methods} == {(64, 0.1, "pre")}
    assert spec.methods[0].model.gate == "positional"
    assert (spec.seeds, spec.training.epochs, spec.training.learning_rate) == ((1, 2), 7, 1e-4)
    assert spec.training.batch_size == 128
    assert (spec.execution.threads, spec.execution.time_limit_minutes, spec.execution.side_by_side) == (2, 1.5, 1)
    assert (spec.evaluation_seed, spec.execution.device) == (9, "cpu")


def test_options_of_the_denoiser_reach_the_model_that_reads_them() -> None:
    spec = spec_of(
        *("--methods", "sasrec-bce,rec-denoiser,rec-denoiser-published,sparse-transformer,top-k,adaptively-sparse"),
        *("--estimator", "ar", "--beta", "0.2", "--beta-on", "sum", "--gamma", "0.003", "--jacobian-every", "4"),
        *("--gate-logit", "1", "--gate-rate", "3", "--attention-top", "7"),
        *("--sparse-stride", "5", "--sparse-width", "1", "--attention-alpha", "1.2"),
    )
    by_name = {method.name: method.model.effective() for method in spec.methods}
    said = {"estimator": "ar", "beta": 0.2, "beta_on": "sum", "gamma": 0.003, "jacobian_every": 4}
    assert by_name["rec-denoiser"].items() >= (said | {"gate_logit": 1.0, "gate_rate": 3.0}).items()
    assert by_name["rec-denoiser-published"].items() >= METHODS["rec-denoiser-published"].items()
    assert by_name["sasrec-bce"] == ModelConfig().effective()
    assert by_name["top-k"]["attention_top"] == 7
    assert by_name["adaptively-sparse"]["attention_alpha"] == 1.2
    assert (by_name["sparse-transformer"]["sparse_stride"], by_name["sparse-transformer"]["sparse_width"]) == (5, 1)
    stacked = spec_of("--methods", "rec-denoiser", "--passes", "stacked")
    kept = spec_of("--methods", "head-drop", "--gate-keep", "0.5")
    assert (stacked.methods[0].model.effective()["passes"], kept.methods[0].model.gate_keep) == ("stacked", 0.5)
    execution = spec_of("--compile", "--precision", "bf16").execution
    assert (execution.compiled, execution.precision) == (True, "bf16")
    assert (spec_of().execution.compiled, spec_of().execution.precision) == (False, "float32")


@pytest.mark.parametrize("config", [ModelConfig, TrainingConfig])
def test_every_option_of_models_and_trainings_reaches_the_spec(config: type) -> None:
    values = {"truncate_ramp": 7, "planted": "uniform", "beta_on": "sum", "passes": "stacked", "norm": "pre"}
    values |= {"cleaning": "sampled"}
    values |= {"estimator": "hard-concrete", "table_rows": "all", "heads": 5, "dim": 60, "sparse_width": 3}
    values |= {"attention_alpha": 1.3, "select_by": "sampled100.hit_at_10"}
    values |= {"diffusion_schedule": "cosine", "diffrec_weights": "snr", "diffrec_least": 0.005}
    options = {action.dest for action in COMMANDS["run"]._actions} & {field.name for field in fields(config)}
    assert len(options) >= 10
    for option in options:
        value = values.get(option, 4 if isinstance(getattr(config(), option), int) else 0.25)
        reached = set()
        for method in METHODS:
            try:
                needed = ["--gamma", "0.1"] if option == "jacobian_every" else []
                spec = spec_of("--methods", method, f"--{option.replace('_', '-')}", str(value), *needed)
            except InputError:
                continue  # it does not read it
            part = spec.methods[0].model if config is ModelConfig else spec.training
            reached.add(getattr(part, option))
        assert reached == {value}, option


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--methods", "sasrec-bce", "--beta", "0.1"], r"--beta: no method of this run reads it \(sasrec-bce\)"),
        (["--methods", "sasrec-softmax", "--negatives", "5"], "--negatives: no method of this run reads it"),
        (["--methods", "sasrec-bce", "--gamma", "0.1"], "--gamma: sasrec-bce fixes it to 0"),
        (["--methods", "rec-denoiser", "--jacobian-every", "2"], "--jacobian-every: no method of this run reads it"),
        (["--methods", "rec-denoiser,head-drop", "--attention-top", "5"], "--attention-top: no method of this run"),
        (
            ["--methods", "rec-denoiser-published", "--estimator", "ar"],
            "--estimator: rec-denoiser-published fixes it to arm",
        ),
    ],
)
def test_an_option_that_reaches_no_method_is_refused(arguments: list[str], told: str) -> None:
    with pytest.raises(InputError, match=f"^{told}"):
        spec_of(*arguments)


@pytest.mark.parametrize("command", ["run", "ingest", "recommend", "audit", "study", "tune"])
@pytest.mark.parametrize("text", ["", " "])
def test_a_log_or_a_file_without_a_name_is_refused(command: str, text: str) -> None:
    arguments, name = ([text], "FILE") if command in ("study", "tune") else (["--source", text], "--source")
    assert f"error: {name}: it names nothing" in refusal(command, *arguments)


def test_options_of_preparation_reach_the_spec() -> None:
    spec = spec_of(
        *("--min-rating", "3.5", "--duplicates", "first", "--k-core", "5", "--item-core", "3", "--promotion", "0"),
        *("--split", "temporal", "--validation", "0.2", "--test", "0.25", "--targets", "every", "--split-seed", "4"),
    )
    assert spec.prepare == PrepareSpec(
        min_rating=3.5,
        duplicates="first",
        user_core=5,
        item_core=3,
        split=TemporalSplit(validation=0.2, test=0.25, targets="every"),
        promotion=0,
        seed=4,
    )
    assert spec_of("--split", "sessions").prepare.split == SessionSplit()
    assert spec_of("--split", "users", "--targets", "last").prepare.split == UserSplit()
    assert spec_of("--min-events", "7").prepare.split == LeaveOneOut(min_events=7)
    left_out = spec_of("--filter", "co-occurrence", "--filter-below", "0.3", "--filter-folds", "4").filter
    assert (left_out.by, left_out.below, left_out.folds) == ("co-occurrence", 0.3, 4)
    noise = spec_of("--noise-kind", "burst", "--noise-where", "histories").noise
    assert (noise.kind, noise.where) == ("burst", "histories")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--split", "sessions", "--targets", "every"], "--targets: the split sessions takes no"),
        (["--validation", "0.2"], "--validation: the split leave-one-out takes no"),
        (["--split", "temporal", "--test", "0.7"], "--test: Input should be less than 0.5"),
    ],
)
def test_an_option_that_the_split_does_not_read_is_refused(arguments: list[str], told: str) -> None:
    with pytest.raises(InputError, match=f"^{told}"):
        spec_of(*arguments)


def test_what_says_how_a_log_is_read_is_refused_beside_a_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REC_DENOISER_MEMORY", "9GB")
    values = {"format": "pairs", "duplicates": "first", "split": "users", "targets": "last", "promotion": "0.1"}
    history, reading = ["recommend", "--history", "a,b"], 0
    for title in ("data (without --source: the generated shoppers)", "preparation"):
        (group,) = (group for group in COMMANDS["recommend"]._action_groups if group.title == title)
        for action in group._group_actions:
            (option,) = action.option_strings
            value = values.get(action.dest, "5")
            if option in ("--source", "--dataset", "--memory"):
                continue
            reading += 1
            with pytest.raises(InputError, match=f"^{option}: --history is scored as it is, and no log is read"):
                recommend_spec(parser().parse_args([*history, option, value]))
    assert reading >= 15
    asked = recommend_spec(parser().parse_args([*history, "--source", "u.data", "--memory", "1GB"]))
    assert (asked.dataset, asked.history) == ("u", ("a", "b"))
    assert recommend_spec(parser().parse_args([*history, "--dataset", "mine"])).dataset == "mine"


def test_lists_of_items_reach_the_spec() -> None:
    ids = recommend_spec(parser().parse_args(["recommend", "--only", 'a,"b, c"', "--exclude-file", "sold out.txt"]))
    assert ids == RecommendSpec(only=("a", "b, c"), exclude_file="sold out.txt")
    files = ["--only-file", "stock.txt", "--exclude", "7", "--history", "1,2"]
    of_files = recommend_spec(parser().parse_args(["recommend", *files]))
    assert of_files == RecommendSpec(history=("1", "2"), only_file="stock.txt", exclude=("7",))
    of_an_answer = offerable_spec(parser().parse_args(["explain", *files]))
    assert of_an_answer == OfferableSpec(only_file="stock.txt", exclude=("7",))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("../data/ML-1M.parquet", "ml-1m"),
        ("u.data", "u"),
        ("C:\\logs\\Sales 2024.csv", "sales-2024"),
        ("my.data.2024.jsonl.gz", "my.data.2024"),
        ("sales.csv.zst", "sales"),
        ("购物.csv", "log"),
    ],
)
def test_a_dataset_is_named_after_its_file(path: str, name: str) -> None:
    assert spec_of("--source", path).dataset == name


def test_help_names_the_defaults_that_hold() -> None:
    spec, own = RobustnessSpec(), default_training(SourceSpec(path="log.csv"))
    model = spec.methods[0].model
    values = {
        **{name: getattr(model, name) for name in ("length", "dim", "blocks", "heads", "dropout", "negatives", "norm")},
        "gate_logit": model.gate_logit,
        "gate_rate": f"{model.gate_rate:g}",
        "gate_rank": model.gate_rank,
        "gate_planted": model.gate_planted,
        **{name: getattr(model, name) for name in ("beta", "beta_on", "estimator", "passes", "gamma")},
        **{name: getattr(model, name) for name in ("jacobian_every", "gate_keep", "attention_top")},
        **{name: getattr(model, name) for name in ("sparse_stride", "sparse_width", "attention_alpha")},
        **{name: getattr(model, name) for name in ("reach", "drop_below", "spare", "truncate", "truncate_ramp")},
        "propensity_floor": model.propensity_floor,
        "planted": model.planted,
        "cleaning": model.cleaning,
        "target_power": f"{model.target_power:g}",
        "attention_power": f"{model.attention_power:g}",
        "noise_kind": spec.noise.kind,
        "noise_where": spec.noise.where,
        **{name: getattr(model, name) for name in ("gbce_t", "masked", "last_masked", "max_interval")},
        **{name: getattr(model, name) for name in ("caser_order", "horizontal_filters", "vertical_filters")},
        "bpr_max_penalty": f"{model.bpr_max_penalty:g}",
        **{name: getattr(model, name) for name in ("user_dim", "keep_users", "keep_items")},
        **{
            f"contrast_{name}": getattr(model, f"contrast_{name}")
            for name in ("crop", "mask", "reorder", "temperature")
        },
        **{name: getattr(model, name) for name in ("diffusion_steps", "diffusion_schedule", "unconditional")},
        **{name: getattr(model, name) for name in ("neighbour_sample", "neighbour_window")},
        **{name: f"{getattr(model, name):g}" for name in ("guidance", "generated")},
        **{
            f"diffrec_{name}": getattr(model, f"diffrec_{name}")
            for name in ("hidden", "steps", "scale", "least", "most")
        },
        "diffrec_weights": model.diffrec_weights,
        "noise_seed": spec.noise.seed,
        **{name: getattr(spec.execution, name) for name in ("device", "threads", "precision")},
        "time_limit": spec.execution.time_limit_minutes,
        "evaluation_seed": spec.evaluation_seed,
        "table_rows": spec.training.table_rows,
        "select_by": spec.training.select_by,
        "user_core": spec.prepare.user_core,
        "item_core": spec.prepare.item_core,
        "min_events": spec.prepare.split.min_events if isinstance(spec.prepare.split, LeaveOneOut) else None,
        "validation": TemporalSplit().validation,
        "test": TemporalSplit().test,
        "targets": f"{TemporalSplit().targets}; of users the {UserSplit().targets}",
        "split_seed": spec.prepare.seed,
        "promotion": spec.prepare.promotion,
        "duplicates": spec.prepare.duplicates,
        "split": spec.prepare.split.kind,
        "user_col": spec.source.columns.user,
        "item_col": spec.source.columns.item,
        "noise": ",".join(f"{ratio:g}" for ratio in spec.noise.ratios),
        "filter": spec.filter.by,
        "filter_below": spec.filter.below,
        "filter_folds": spec.filter.folds,
        "seeds": ",".join(map(str, spec.seeds)),
        **{
            name: f"{getattr(own, name):g} [{getattr(spec.training, name):g}]"
            for name in (
                "epochs",
                "patience",
                "min_steps",
                "validate_every",
                "batch_size",
                "learning_rate",
                "weight_decay",
                "clip",
                "warmup",
                "decay",
            )
        },
    }
    said = {
        action.dest: found[1]
        for action in COMMANDS["run"]._actions
        if (found := re.search(r"\(default ([^)]+)\)", action.help or ""))
    }
    shown = {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in values.items()}
    assert said == shown | {
        "methods": "the first eight",
        "negatives": f"{model.negatives}; caser {METHODS['caser']['negatives']}; gbce, bpr-max, sampled "
        f"{METHODS['sasrec-gbce']['negatives']}",
        "neighbours": f"{model.neighbours}; v-sknn {METHODS['v-sknn']['neighbours']}",
        "cleaning": f"{model.cleaning}; denoised-softmax {METHODS['denoised-softmax']['cleaning']}",
    }
    assert next(a for a in COMMANDS["run"]._actions if a.dest == "methods").help == (
        f"of {', '.join(METHODS)} (default the first eight), or a recommender of your own as FILE.py:NAME"
    )
    recommend = {action.dest: action.help or "" for action in COMMANDS["recommend"]._actions}
    assert f"default {RecommendSpec().k})" in recommend["k"]
    assert f"default {RecommendSpec().alias})" in recommend["alias"]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("phone-017, charger-004", ["phone-017", "charger-004"]),
        ('"cable, 2 m", 5" disk', ["cable, 2 m", '5" disk']),
        ('"the ""big"", red one"', ['the "big", red one']),
        ("1\n2,3\n", ["1", "2", "3"]),
    ],
)
@pytest.mark.parametrize("command", ["recommend", "explain"])
def test_an_id_with_a_comma_stands_in_quotes(command: str, text: str, ids: list[str]) -> None:
    assert parser().parse_args([command, "--history", text]).history == ids


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example_that_it_understands(command: str) -> None:
    text = COMMANDS[command].format_help()
    examples = re.findall(r"^ {2}(?:\w+=\S+ )?rec-denoiser (.+?(?:\\\n.+)?)$", text, flags=re.MULTILINE)
    assert any(example.split()[0] == command for example in examples)
    for example in examples:
        assert parser().parse_args(words(example))


def test_the_items_of_the_examples_exist() -> None:
    known = set(simulate(ShoppersSpec(users=10)).item_ids)
    pages = [parser(), COMMANDS["recommend"], COMMANDS["explain"]]
    lists = re.findall(r"--(?:history|exclude) (\S+\d)", "".join(page.format_help() for page in pages))
    assert len(lists) == 5
    assert {item for items in lists for item in items.split(",")} <= known


def test_help_fits_the_terminal_and_lists_every_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "88")
    pages = [parser().format_help(), *(command.format_help() for command in COMMANDS.values())]
    assert max(len(line) for page in pages for line in page.splitlines()) <= 88
    assert all(f"\n  {command} " in pages[0] for command in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--nosie", "0"], "there is no option --nosie: did you mean --noise?"),
        (["run", "--noise", "1"], "--noise: 1 does not lie between 0 and 0.5"),
        (["run", "--noise", "-0.1"], "--noise: -0.1 does not lie between 0 and 0.5"),
        (["run", "--noise", "nan"], "--noise: 'nan' is not a number"),
        (["run", "--noise", "0,,0.2"], "--noise: '0,,0.2' has an empty place"),
        (["run", "--epochs", "many"], "--epochs: 'many' is not a whole number"),
        (["run", "--epochs", "0"], "--epochs: 0 is less than 1 (see"),
        (["run", "--beta", "inf"], "--beta: 'inf' is not a number"),
        (["run", "--dataset", "My Log"], "--dataset: 'My Log' is not made of"),
        (["run", "--norm", "post-ish"], "--norm: invalid choice"),
        (["recommend", "--history", ""], "--history: '' has an empty place"),
        (
            ["recommend", "--history", "-5,-7"],
            "one that begins with a dash behind an equals sign, as in --history=-1 (see",
        ),
        (["recommend", "--only", "a,,b"], "--only: 'a,,b' has an empty place"),
        (["recommend", "--exclude-file", " "], "--exclude-file: it names nothing"),
        (["recommend", "--only", "a", "--only-file", "b"], "--only-file: not allowed with argument --only"),
        (["explain", "--history", "a", "--only", "a", "--only-file", "b"], "not allowed with argument --only"),
        (["explain", "--history", "a,,b"], "--history: 'a,,b' has an empty place"),
        (["audit", "--clean-below", "0"], "--clean-below: 0 does not lie between 0.001 and 1"),
        (["audit", "--top", "0"], "--top: 0 does not lie between 1 and 10000"),
        (["ui"], "the following arguments are required: NAME"),
        (["ui", "mlflo"], "NAME: invalid choice: 'mlflo' (choose from 'mlflow', 'prefect')"),
        (["ui", "mlflow", "--port", "70000"], "--port: 70000 does not lie between 1 and 65535"),
        (["ui"], "required"),
        (["walk"], "invalid choice: 'walk'"),
    ],
)
def test_a_wrong_option_is_told_in_a_line(arguments: list[str], said: str) -> None:
    assert said in refusal(*arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--methods", "sasrec"], "there is no method 'sasrec': choose from popularity, markov-chain, v-sknn-window"),
        (["--dim", "51"], "--dim (51) must be a multiple of heads (2)"),
        (["--noise", "0.2,0.2"], "--noise: a noise ratio is given twice"),
        (["--seeds", "1,1"], "a seed is given twice"),
        (["--table-rows", "touched"], "the method sasrec-softmax: table_rows is touched, but this loss or"),
        (["--methods", "rec-denoiser,rec-denoiser"], "two methods have the same name"),
        (["--learning-rate", "0"], "--learning-rate must be positive, not 0.0"),
        (["--noise", "0", "--noise-kind", "swap"], "--noise-kind: this run has no noise: name a share above 0"),
        (["--noise", "0", "--noise-seed", "3"], "--noise-seed: this run has no noise"),
        (["--clip=-1"], "--clip must be at least 0, not -1.0"),
        (["--time-limit", "0"], "--time-limit: Input should be greater than 0"),
    ],
)
def test_options_that_make_no_sense_together(arguments: list[str], said: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(said)}"):
        spec_of(*arguments)


def test_help_answers_without_loading_what_takes_long(tmp_path: Path) -> None:
    done = rec_denoiser(tmp_path, "--help")
    assert done.returncode == 0
    assert "examples:" in done.stdout
    asked = "import sys; from flows.cli import _parser; _parser().format_help(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, cwd=PROJECT_ROOT)
    assert not SLOW_TO_LOAD & set(loaded.stdout.split())


@pytest.mark.parametrize("command", [("datasets",), ("datasets", "ml-1m")])
def test_who_has_read_enough_of_what_is_printed_ends_it_without_a_complaint(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as output:
        done = subprocess.run(
            [sys.executable, "-m", "flows.cli", *command],
            env=environment(tmp_path),
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, "")


def test_the_version_is_that_of_the_project(tmp_path: Path) -> None:
    declared = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert rec_denoiser(tmp_path, "--version").stdout == f"rec-denoiser {declared}\n"


def test_wrong_sources_are_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "environ", environment(tmp_path))
    (tmp_path / "empty.csv").touch()
    (tmp_path / "columns.csv").write_text("user,item_id\na,b\n", encoding="utf-8")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and no footer")
    for name, said in (
        ("missing.csv", "does not exist"),
        ("", "is a folder"),
        ("empty.csv", "is empty"),
        ("cut.parquet", "not a whole Parquet file"),
        ("columns.csv", "has no column 'user_id'"),
    ):
        for command in ("run", "ingest", "recommend"):
            path = tmp_path / name
            assert main([command, "--source", str(path), "--dataset", "log"]) == 2
            error = capsys.readouterr().err
            assert error.startswith(f"rec-denoiser: error: {path}")
            assert said in error
            assert error.count("\n") == 1
    for option, value in (("--user-col", "who"), ("--time-col", "when"), ("--format", "movielens")):
        assert main(["run", option, value]) == 2
        assert f"rec-denoiser: error: {option} {value} " in capsys.readouterr().err
    assert not list((tmp_path / "home").glob("prefect/*.db"))
    assert not (tmp_path / "home" / "snapshots").exists()


@pytest.mark.parametrize("command", ["study", "tune"])
@pytest.mark.parametrize("options", [["--dry-run"], ["--json", "a.json"], ["--set", "name=x"], ["--side-by-side", "2"]])
def test_what_is_to_be_done_with_a_file_needs_one(
    capsys: pytest.CaptureFixture[str], command: str, options: list[str]
) -> None:
    assert main([command, *options]) == 2
    said = capsys.readouterr()
    assert f"{options[0]}: name a file, `rec-denoiser {command}` lists those that are shipped" in said.err
    assert said.out == ""


def test_what_could_only_fail_at_the_end_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "environ", environment(tmp_path))
    assert main(["run", "--json", str(tmp_path / "nowhere" / "a.json")]) == 2
    assert f"there is no folder {tmp_path / 'nowhere'}" in capsys.readouterr().err
    assert main(["run", "--json", str(tmp_path)]) == 2
    assert "is a folder: name a file" in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["ui", "mlflow", "--port", str(port)]) == 2
        assert f"port {port} is in use" in capsys.readouterr().err


def test_an_mlflow_that_is_served_already_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somebody:secret@mlflow.example:5000")
    with pytest.raises(InputError, match=r"open http://mlflow\.example:5000$"):
        open_ui("mlflow", port=None)


@pytest.mark.parametrize("named", [None, "PREFECT_UI_API_URL", "PREFECT_SERVER_UI_API_URL"])
def test_prefects_pages_ask_the_server_that_they_come_from_unless_a_person_names_another(
    named: str | None, tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr("flows.running.announce", lambda *said, **page: None)
    monkeypatch.setattr("flows.running.become", lambda *command: started.extend(command))
    own = environment(tmp_path) | {"PREFECT_API_URL": "http://elsewhere.example/api"}
    for name in ("PREFECT_UI_API_URL", "PREFECT_SERVER_UI_API_URL"):
        own.pop(name, None)
    monkeypatch.setattr(os, "environ", own | ({named: "https://behind.example/api"} if named else {}))
    open_ui("prefect", port=free_port)
    from prefect.settings import Settings

    assert started[-1] == str(free_port)
    assert Settings().server.ui.api_url == (
        "https://behind.example/api" if named else f"http://127.0.0.1:{free_port}/api"
    )


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    done = rec_denoiser(tmp_path, "recommend", "--history", "phone-017", "--alias", "nobody")
    assert done.returncode == 2
    assert "rec-denoiser: error: there is no registered model rec-denoiser-shoppers" in done.stderr
    assert "Traceback" not in done.stderr
    assert "server" not in done.stderr


def test_a_history_of_the_whole_catalogue_is_offered_nothing_and_told_so() -> None:
    told = "\n".join(explained(explain(held(), history_given(ITEMS), user=None, k=3)))
    assert "\nNothing is offered: the history holds every item that may be offered." in told
    assert "may be offered\n\nPLACE" not in told
    assert "OFFERED" not in told
    outcome = {"model": "a model", "basis": "history", "items": [], "scores": [], "unknown": []}
    sentence = "--only: of 2 ids the model does not know 1 (x)"
    assert list(told_of_one(outcome | {"unknown_in_lists": [sentence]}))[1:] == [
        "  nothing: the history holds every item that may be offered (--include-seen offers them again)",
        sentence,
    ]


def test_ids_that_are_numbers_are_offered_as_they_are() -> None:
    outcome = {"model": "a model", "basis": "history", "items": [17, 5], "scores": [1.5, 0.25], "unknown": [9, 8]}
    assert list(told_of_one(outcome | {"unknown_in_lists": []})) == [
        "\na model, by history:",
        "     1.5000  17",
        "     0.2500  5",
        "Passed over, for the model does not know them: 9, 8",
    ]


def test_an_explanation_says_how_many_items_lists_leave_and_which_it_does_not_know() -> None:
    lists = resolved(OfferableSpec(only=(*ITEMS[2:5], "new")), ITEMS)
    told = "\n".join(explained(explain(held(), history_given(ITEMS[:3]), user=None, k=5, offerable=lists)))
    assert "; 3 items may be offered\n\nPLACE" in told
    assert told.count("CARRIED BY") == 1
    assert "\n--only: of 4 ids the model does not know 1 (new)" in told


def test_a_model_whose_loss_is_its_own_is_explained_without_one() -> None:
    def told(**settings: Any) -> str:
        return "\n".join(explained(explain(held(**settings), history_given(ITEMS[:4]), user=None, k=3)))

    assert "a model: dreamrec, gate none\n" in told(backbone="dreamrec", gate="none")
    assert "a model: sasrec, loss bce, gate positional\n" in told()


def test_a_wrong_row_ends_the_run_with_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    rows = [f"u{number % 300},i{number % 70}" for number in range(6000)]
    rows[4999] = ",i3"
    (tmp_path / "log.csv").write_text("user_id,item_id\n" + "\n".join(rows) + "\n", encoding="utf-8")
    before = set(tmp_path.iterdir())
    done = rec_denoiser(tmp_path, "run", "--source", "log.csv", "--noise", "0")
    assert done.returncode == 2
    assert done.stdout == ""
    usual = ("server", "Beginning flow run", "read as interactions (log.csv)")
    told = [line for line in done.stderr.splitlines() if not any(words in line for words in usual)]
    home = Home(tmp_path / "home")
    [docs] = home.docs.glob("log-*/index.html")
    assert told == [f"rec-denoiser: error: log.csv, row 5000, column 'user_id': no user id; see {docs}"]
    assert not home.snapshots.exists()
    assert not list(home.leases.iterdir())
    assert not home.mlflow.exists()
    assert set(tmp_path.iterdir()) - before == {home.root}


@pytest.mark.slow
def test_ctrl_c_ends_at_once_and_the_same_command_goes_on(tmp_path: Path) -> None:
    rows = [f"u{number % 300},i{number * number % 61}" for number in range(6000)]
    (tmp_path / "log.csv").write_text("user_id,item_id\n" + "\n".join(rows) + "\n", encoding="utf-8")
    home = Home(tmp_path / "home")
    command = [
        *("run", "--source", "log.csv", "--noise", "0", "--methods", "sasrec-bce,sasrec-softmax"),
        *("--dim", "8", "--epochs", "30", "--patience", "30", "--side-by-side", "1", "--json", "result.json"),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *command],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A background shell has its children ignore Ctrl-C; a terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 240
    while not list(home.steps.glob("train/*/checkpoint.pt")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130, output
    assert output.count("rec-denoiser: interrupted; the same command goes on from here\n") == 1
    assert "Traceback" not in output
    assert "rror" not in output
    assert len(list(home.steps.glob("train/*"))) == 1
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(home.root) in " ".join(p.info["cmdline"] or [])]
    tracker = Tracker(home)
    statuses = Counter(run.info.status for run in tracker.client.search_runs([tracker.experiment_id]))
    assert statuses == {"KILLED": 3}

    again = rec_denoiser(tmp_path, *command)
    assert again.returncode == 0, again.stderr
    assert len(json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["cells"]) == 2
    statuses = Counter(run.info.status for run in tracker.client.search_runs([tracker.experiment_id]))
    assert statuses == {"FINISHED": 3}
