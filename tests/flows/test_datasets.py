"""Logs from elsewhere, from the command line: public data sets and addresses."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.cli import _parser as parser
from flows.cli import main
from flows.requested import audit_spec, ingest_spec, recommend_spec, robustness_spec
from flows.running import _without_secrets
from tasks.data_specs import ShoppersSpec
from tasks.home import Home
from tasks.shoppers import generate
from tasks.sources import datasets
from tasks.sources.datasets import DATASETS
from tasks.specs import IngestSpec
from tests.flows.commands import rec_denoiser
from tests.tasks.servers import Owner, archive, serving


@pytest.fixture
def owner() -> Iterator[Owner]:
    with serving(Owner({})) as served:
        yield served


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A state folder of the test's own."""
    monkeypatch.setenv("REC_DENOISER_HOME", str(tmp_path / "home"))
    return Home(tmp_path / "home")


def spec_of(*arguments: str) -> IngestSpec:
    return ingest_spec(parser().parse_args(["ingest", *arguments]))


def test_the_table_lists_them_all_in_a_terminals_width(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datasets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    rows = {line.split()[0]: line for line in lines[1 : 1 + len(DATASETS)]}
    assert list(rows) == list(DATASETS)
    assert "1,000,209" in rows["ml-1m"]
    assert "by hand" in rows["yoochoose"]


@pytest.mark.parametrize("name", DATASETS)
def test_all_about_one(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datasets", name]) == 0
    said = capsys.readouterr().out
    assert DATASETS[name].page in said
    assert f"--source {DATASETS[name].file or name}" in " ".join(said.split())


def test_one_is_fetched_from_its_owner_and_then_on_disk(
    owner: Owner, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    owner.files["/ml-100k.zip"] = archive({"ml-100k/u.data": b"1\t2\t3\t880000000\n"})
    there = datasets.Remote(f"{owner.address}/ml-100k.zip", member="ml-100k/u.data")
    monkeypatch.setattr("flows.datasets.remote_of", lambda dataset: there)
    assert main(["datasets", "ml-100k", "--fetch"]) == 0
    assert "u.data\n  SHA-256 " in capsys.readouterr().out
    assert main(["datasets", "ml-100k"]) == 0
    assert "on disk:   yes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ml1m"], "did you mean ml-1m?"),
        (["--fetch"], "name the data set"),
        (["shoppers", "--fetch"], "nothing to fetch"),
        (["zhihu", "--fetch"], "--source inter_impression.csv --format zhihu"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datasets", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("https://ann:s3cret@host.org/logs/Sales%202024.csv.gz?sig=deadbeef", "sales-2024"),
        ("s3://bucket/day/Log.parquet", "log"),
        ("ml-1m", "ml-1m"),
        ("logs/2024-*.csv.gz", "2024"),
        ("shoppers", "shoppers"),
    ],
)
def test_a_log_from_elsewhere_is_named_after_its_last_part(source: str, name: str) -> None:
    assert spec_of("--source", source).dataset == name


def test_every_command_asks_for_the_address_that_it_was_given() -> None:
    address = "https://ann:s3cret@host/log.csv?year=2023&sig=deadbeef"
    for command, spec in (("ingest", ingest_spec), ("audit", audit_spec), ("run", robustness_spec),
                          ("recommend", recommend_spec)):  # fmt: skip
        asked = spec(parser().parse_args([command, "--source", address, "--time-col", "at", "--k-core", "2"]))
        assert asked.source.path == address, command
        assert (asked.dataset, asked.source.columns.time, asked.prepare.user_core) == ("log", "at", 2)


def test_the_generated_log_has_a_name_too() -> None:
    assert spec_of("--source", "shoppers") == spec_of()


def test_what_is_kept_of_a_command_line_holds_no_secrets() -> None:
    address = "https://ann:s3cret@host/log.csv?sig=deadbeef"
    assert _without_secrets(address) == "https://host/log.csv"
    assert _without_secrets(f"--source={address}") == "--source=https://host/log.csv"
    assert _without_secrets("--noise=0,0.2") == "--noise=0,0.2"


STUDY = """\
name: elsewhere
question: Does it?
base:
  model: {dim: 8, length: 12, blocks: 1, heads: 1}
  training: {epochs: 1}
axes:
  method: [sasrec-bce]
"""


@pytest.mark.slow
def test_a_study_of_a_log_at_an_address_keeps_its_secrets_out_of_all_that_it_leaves(
    owner: Owner, tmp_path: Path
) -> None:
    generate(ShoppersSpec(users=60, items=50), tmp_path / "shop.parquet")
    owner.files["/shop.parquet"] = (tmp_path / "shop.parquet").read_bytes()
    (tmp_path / "elsewhere.yaml").write_text(STUDY, encoding="utf-8")
    address = f"{owner.address.replace('//', '//ann:s3cret@')}/shop.parquet?X-Amz-Signature=deadbeef"
    made = rec_denoiser(tmp_path, "study", "elsewhere.yaml", "--set", f"base.source.path={address}")
    assert made.returncode == 0, made.stderr
    assert owner.heard[0]["authorization"] == "Basic YW5uOnMzY3JldA=="
    page = (tmp_path / "home" / "studies" / "elsewhere" / "report.html").read_text(encoding="utf-8")
    assert f"--set base.source.path={owner.address}/shop.parquet" in page
    leaks = subprocess.run(
        ["grep", "-rlE", "s3cret|deadbeef", str(tmp_path / "home")], capture_output=True, check=False
    )
    assert leaks.stdout == b""
    assert not any(word in made.stderr + made.stdout for word in ("s3cret", "deadbeef"))


@pytest.mark.slow
def test_a_log_at_an_address_is_fetched_in_the_flow_and_its_secrets_stay_out(owner: Owner, tmp_path: Path) -> None:
    generate(ShoppersSpec(users=30, items=50), tmp_path / "shop.parquet")
    owner.files["/shop.parquet"] = (tmp_path / "shop.parquet").read_bytes()
    address = f"{owner.address.replace('//', '//ann:s3cret@')}/shop.parquet?X-Amz-Signature=deadbeef"
    first = rec_denoiser(tmp_path, "ingest", "--source", address, "--time-col", "time")
    assert first.returncode == 0, first.stderr
    assert "shop.parquet fetched: " in first.stderr
    snapshot = first.stdout.splitlines()[1]
    again = rec_denoiser(tmp_path, "ingest", "--source", address, "--time-col", "time")
    assert "has not changed since" in again.stderr
    assert snapshot in again.stdout
    here = rec_denoiser(tmp_path, "ingest", "--source", "shop.parquet", "--time-col", "time")
    assert snapshot in here.stdout
    leaks = subprocess.run(
        ["grep", "-rlE", "s3cret|deadbeef", str(tmp_path / "home")], capture_output=True, check=False
    )
    assert leaks.stdout == b""
    assert not any(word in first.stderr + first.stdout for word in ("s3cret", "deadbeef"))
