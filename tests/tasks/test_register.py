"""The registered model: what it brings, who becomes the champion, and that it serves alone."""

import json
import os
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import Any

import duckdb
import pytest

from models.serving import Server
from tasks import register as registry
from tasks.home import Home
from tasks.mlflow_store import tracking_uri
from tasks.register import Reason, Registered, register
from tasks.snapshots import Snapshot
from tasks.track import Tracker
from tests.tasks.conftest import Shop

ALONE = """
import importlib.util, json, sys
assert not [room for room in ("flows", "tasks", "models", "sql") if importlib.util.find_spec(room)]
import mlflow, numpy, pandas
uri, name, arrays = json.loads(sys.argv[1])
mlflow.set_tracking_uri(uri)
model = mlflow.pyfunc.load_model(f"models:/{name}@champion")
histories = [numpy.array(history) for history in arrays] if name.endswith("string") else arrays
answer = model.predict(pandas.DataFrame({"history": histories}), params={"k": 3, "exclude_seen": False})
print(json.dumps(answer.to_dict("list")))
"""


def address(registered: Registered) -> str:
    """By which MLflow finds a version."""
    return f"models:/{registered.name}@{registered.alias}"


def test_popularity_is_that_of_the_training_part(
    tiny_snapshot: Snapshot, rows_of: Callable[[Path], list[tuple[Any, ...]]]
) -> None:
    lengths = {user: length for user, _, length in rows_of(tiny_snapshot.users)}
    events = rows_of(tiny_snapshot.interactions)
    counts = Counter(item for user, item, _, position, _ in events if position < lengths[user])
    assert 0 < counts.total() < len(events)
    items = rows_of(tiny_snapshot.items)
    assert registry.catalogue(tiny_snapshot) == ([raw for _, raw in items], [counts[item] for item, _ in items])


def test_the_version_carries_what_it_stands_on(shop: Shop, mlflow_home: Home) -> None:
    client = Tracker(mlflow_home).client
    version = client.get_model_version_by_alias(shop.registered.name, "champion")
    assert version.run_id == shop.run_id
    assert version.tags["rec_denoiser.snapshot"] == shop.snapshot.digest
    assert version.tags["method"] == "sasrec-bce"
    assert float(version.tags["rec_denoiser.deciding_value"]) == 0.5
    assert version.tags["rec_denoiser.decided_on"] == "promotion"
    (output,) = client.get_run(shop.run_id).outputs.model_outputs
    assert version.source == f"models:/{output.model_id}"
    model = client.get_logged_model(output.model_id)
    recorded = shop.snapshot.manifest.item_id_type == "integer"
    assert (model.name, model.status) == ("recorded" if recorded else "sasrec-bce", "READY")
    assert model.params == ({"seed": "3"} if recorded else {})
    assert {"name": shop.registered.name, "version": str(version.version)} in json.loads(
        client.get_logged_model(output.model_id).tags["mlflow.modelVersions"]
    )


def test_signature_example_and_requirements(shop: Shop, mlflow_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    mlflow.set_tracking_uri(tracking_uri(mlflow_home))
    folder = Path(mlflow.artifacts.download_artifacts(address(shop.registered)))
    info = mlflow.models.get_model_info(address(shop.registered))
    raw_id = {"string": "string", "integer": "long"}[shop.snapshot.manifest.item_id_type]
    assert [str(column) for column in info.signature.inputs] == [
        f"'history': Array({'Any' if raw_id == 'string' else raw_id}) (required)",
        "'trained': long (optional)",
    ]
    assert info.signature.outputs.input_names() == ["items", "scores", "basis"]
    assert {param.name: (param.dtype.name, param.shape, param.default) for param in info.signature.params} == {
        "k": ("long", None, 10),
        "exclude_seen": ("boolean", None, True),
        "only": (raw_id, (-1,), [None]),
        "exclude": (raw_id, (-1,), []),
    }
    stored = json.loads((folder / "input_example.json").read_text())["data"]
    ids = json.loads((folder / "artifacts" / "model" / "catalogue.json").read_text())["ids"]
    assert {raw for row in stored for raw in row[0]} <= set(ids)
    required = (folder / "requirements.txt").read_text().split()
    assert sorted(line.split("==")[0] for line in required) == ["mlflow", "numpy", "pandas", "torch"]
    assert not any("+" in line for line in required)


@pytest.mark.parametrize("shop", ["string", pytest.param("integer", marks=pytest.mark.slow)], indirect=True)
def test_it_serves_where_nothing_of_the_project_is_installed(shop: Shop, mlflow_home: Home, tmp_path: Path) -> None:
    """In a virtual environment that sees other people's packages only, with pickles forbidden."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (site_packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    # A folder named by a .pth file has its own .pth files ignored: those of an editable install among them.
    (site_packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    histories = [ids_of(shop, 1, 2, 2), [], [*ids_of(shop, 3), unknown(shop)], ids_of(shop, *range(1, 21)) * 5]
    done = subprocess.run(
        [tmp_path / "venv/bin/python", "-c", ALONE,
         json.dumps([tracking_uri(mlflow_home), shop.registered.name, histories])],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["basis"] == ["history", "popularity", "history", "history"]

    directly = direct_answer(shop, mlflow_home, histories)
    assert answer["items"] == directly["items"]
    for served, expected in zip(answer["scores"], directly["scores"], strict=True):
        assert served == pytest.approx(expected, rel=1e-5)


def test_the_same_training_is_registered_once(shop: Shop, mlflow_home: Home) -> None:
    tracker = Tracker(mlflow_home)
    again = register(
        shop.trained, shop.snapshot, clean=shop.snapshot, name=shop.registered.name, key="first", value=0.5,
        decided_on="promotion", ranks=Path("unread"), tags={}, run_id=shop.run_id, tracker=tracker, home=mlflow_home,
    )  # fmt: skip
    assert again == replace(shop.registered, reason="standing")
    assert len(tracker.client.search_model_versions(f"name = '{again.name}'")) == 1


Offer = Callable[..., Registered]


@pytest.fixture
def offer(shop: Shop, mlflow_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Offer:
    """`offer(key, value, clean="…")` registers under a name of the test's own; the model's files are logged already."""
    tracker = Tracker(mlflow_home)
    source = tracker.client.get_model_version_by_alias(shop.registered.name, "champion").source
    monkeypatch.setattr(registry, "_log_model", lambda *_, **__: source.removeprefix("models:/"))
    name = f"aliases-{tmp_path.name}"
    ranks = tmp_path / "ranks.parquet"
    duckdb.sql(
        f'COPY (SELECT target, split, "user", 0::float AS rank_full_unseen '
        f"FROM read_parquet('{shop.snapshot.targets}')) TO '{ranks}' (FORMAT parquet)"
    )

    def run(key: str, value: float, *, clean: str = "first log", split: str = "promotion", **how: Any) -> Registered:
        log = Snapshot(shop.snapshot.path, shop.snapshot.manifest.model_copy(update={"digest": clean}))
        return register(
            shop.trained, shop.snapshot, clean=log, name=name, key=key, value=value, decided_on=split,
            ranks=ranks, tags={}, run_id=shop.run_id, tracker=tracker, home=mlflow_home, **how,
        )  # fmt: skip

    return run


@pytest.mark.parametrize("shop", ["string"], indirect=True)
@pytest.mark.parametrize(
    ("value", "clean", "split", "alias", "reason"),
    [
        (0.6, "first log", "promotion", "champion", "better"),
        (0.5, "first log", "promotion", "challenger", "not better"),
        (0.4, "first log", "promotion", "challenger", "not better"),
        (0.1, "later log", "promotion", "champion", "as good"),
        (0.1, "first log", "validation", "champion", "not compared"),
    ],
    ids=["better", "equal", "worse", "other data", "other targets"],
)
def test_who_becomes_the_champion(
    offer: Offer, value: float, clean: str, split: str, alias: str, reason: Reason
) -> None:
    first = offer("a", 0.5)
    assert first == Registered(first.name, "1", "champion", "promotion", 0.5, "first")
    registered = offer("b", value, clean=clean, split=split)
    assert without_comparison(registered) == Registered(first.name, "2", alias, split, value, reason)
    assert (registered.comparison is None) == (reason in ("better", "not better"))


@pytest.mark.parametrize("shop", ["string"], indirect=True)
def test_a_champion_that_was_beaten_does_not_come_back(offer: Offer, mlflow_home: Home) -> None:
    name = offer("a", 0.5).name
    assert offer("b", 0.6) == Registered(name, "2", "champion", "promotion", 0.6, "better")
    assert offer("a", 0.5) == Registered(name, "1", "challenger", "promotion", 0.5, "not better")
    assert offer("b", 0.6) == Registered(name, "2", "champion", "promotion", 0.6, "standing")
    aliases = Tracker(mlflow_home).client.get_registered_model(name).aliases
    assert {alias: str(version) for alias, version in aliases.items()} == {"champion": "2", "challenger": "1"}


@pytest.mark.parametrize("shop", ["string"], indirect=True)
def test_a_person_brings_an_older_version_back_over_one_of_other_data(offer: Offer) -> None:
    name = offer("a", 0.5).name
    assert without_comparison(offer("b", 0.1, clean="bad log")) == Registered(
        name, "2", "champion", "promotion", 0.1, "as good"
    )
    assert offer("a", 0.5) == Registered(name, "1", "challenger", "promotion", 0.5, "older")
    assert offer("a", 0.5, offered_by="person") == Registered(name, "1", "champion", "promotion", 0.5, "by hand")
    assert offer("c", 0.4, offered_by="person") == Registered(name, "3", "challenger", "promotion", 0.4, "not better")


@pytest.mark.parametrize("shop", ["string"], indirect=True)
def test_what_was_killed_before_it_had_an_alias_is_still_new(offer: Offer, monkeypatch: pytest.MonkeyPatch) -> None:
    name = offer("a", 0.5).name
    with monkeypatch.context() as killed:
        killed.setattr(registry, "_give", killed_here)
        with pytest.raises(KeyboardInterrupt):
            offer("b", 0.1, clean="later log")
    assert without_comparison(offer("b", 0.1, clean="later log")) == Registered(
        name, "2", "champion", "promotion", 0.1, "as good"
    )
    assert offer("a", 0.5).reason == "older"
    assert offer("c", 0.1).alias == "champion"
    assert offer("b", 0.1, clean="later log").reason == "older"


@pytest.mark.parametrize("shop", ["string"], indirect=True)
def test_two_at_once_make_one_version(offer: Offer, mlflow_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    log_model, both_looked = registry._log_model, Barrier(2)

    def after_the_other_has_looked(*arguments: Any, **named: Any) -> Any:
        with suppress(BrokenBarrierError):  # where the other waits for this one to be done
            both_looked.wait(timeout=2)
        return log_model(*arguments, **named)

    monkeypatch.setattr(registry, "_log_model", after_the_other_has_looked)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: offer("a", 0.5), range(2))
    assert (first.version, second.version) == ("1", "1")
    assert {first.reason, second.reason} == {"first", "standing"}
    assert len(Tracker(mlflow_home).client.search_model_versions(f"name = '{first.name}'")) == 1


@pytest.mark.slow
@pytest.mark.parametrize("shop", ["string"], indirect=True)
def test_it_answers_over_http_and_refuses_a_bad_schema(
    shop: Shop, mlflow_home: Home, tmp_path: Path, free_port: int
) -> None:
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": tracking_uri(mlflow_home),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),  # MLflow looks for uvicorn
    }
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "models", "serve", "-m", address(shop.registered),
             "--env-manager", "local", "--port", str(free_port), "--workers", "1"],
            cwd=tmp_path, env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            wait_for(f"http://127.0.0.1:{free_port}/ping", process, seconds=90)
            url = f"http://127.0.0.1:{free_port}/invocations"
            history = ids_of(shop, 1, 2)
            status, answer = post(url, {"dataframe_records": [{"history": history}], "params": {"k": 4}})
            assert status == 200
            (row,) = answer["predictions"]
            assert len(row["items"]) == len(row["scores"]) == 4
            assert not set(row["items"]) & set(history)
            stock = ids_of(shop, 2, 3, 4, 5)
            lists = {"only": [*stock, unknown(shop)], "exclude": stock[-1:]}
            status, answer = post(url, {"dataframe_records": [{"history": history}], "params": lists})
            assert status == 200
            assert sorted(answer["predictions"][0]["items"]) == sorted(stock[1:3])
            with_nulls = [{"history": [None, *history, None]}, {"history": history}]
            status, answer = post(url, {"dataframe_records": with_nulls})
            assert status == 200
            assert answer["predictions"][0]["items"] == answer["predictions"][1]["items"]
            for wrong, told in (
                ({"only": []}, "leave no item to be offered"),
                ({"only": stock, "exclude": stock}, "leave no item to be offered"),
                ({"exclude": [4]}, "'exclude'"),
                ({"exclude": stock[0]}, "'exclude'"),
                ({"k": 0}, "k must be a whole number and at least 1, not 0"),
                ({"k": None}, "k must be a whole number and at least 1, not None"),
                ({"exclude_seen": None}, "exclude_seen must be true or false, not None"),
            ):
                asked = {"dataframe_records": [{"history": history}], "params": wrong}
                assert_refused(*post(url, asked), told)
            for wrong, told in (
                ({"clicks": history}, "missing inputs ['history']"),
                ({"history": 5}, "list"),
                ({"history": [1.5]}, "item ids are text, which 1.5 in the history of row 0 is not"),
                ({"history": [history]}, "item ids are text"),
                ({"history": history, "trained": 5}, "row 0 has 2 items in its history: `trained` says"),
            ):
                assert_refused(*post(url, {"dataframe_records": [wrong]}), told)
        finally:
            os.killpg(process.pid, 15)
            process.wait()


def without_comparison(registered: Registered) -> Registered:
    """What was decided; `test_promotion` has the comparison that it rests on."""
    return replace(registered, comparison=None)


def killed_here(*_: Any) -> None:
    raise KeyboardInterrupt


def ids_of(shop: Shop, *numbers: int) -> list[Any]:
    """Raw ids of item numbers."""
    raw = dict(duckdb.sql(f"SELECT item, item_id FROM read_parquet('{shop.snapshot.items}')").fetchall())
    as_id = int if shop.snapshot.manifest.item_id_type == "integer" else str
    return [as_id(raw[number]) for number in numbers]


def unknown(shop: Shop) -> Any:
    """An id that the catalogue lacks; among strings one that differs by its leading zero."""
    return 999 if shop.snapshot.manifest.item_id_type == "integer" else "1"


def direct_answer(shop: Shop, home: Home, histories: list[list[Any]]) -> dict[str, list[Any]]:
    """What the trained model says with the catalogue that was logged."""
    import mlflow
    import pandas as pd

    mlflow.set_tracking_uri(tracking_uri(home))
    folder = Path(mlflow.artifacts.download_artifacts(address(shop.registered))) / "artifacts" / "model"
    assert (folder / "weights.pt").read_bytes() == (shop.trained.folder / "weights.pt").read_bytes()
    server = Server()
    server.load(folder)
    return server.predict(None, pd.DataFrame({"history": histories}), {"k": 3, "exclude_seen": False}).to_dict("list")


def wait_for(url: str, server: "subprocess.Popen[bytes]", *, seconds: float) -> None:
    """Until the server answers there."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert server.poll() is None, "the server has ended"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(url)


def post(url: str, content: dict[str, Any]) -> tuple[int, Any]:
    request = urllib.request.Request(
        url, data=json.dumps(content).encode(), headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def assert_refused(status: int, answer: dict[str, Any], told: str) -> None:
    """Is it said what is wrong, and not where in the code it was found?"""
    assert (status, "stack_trace" in answer) == (400, False)
    assert told in answer["message"]
