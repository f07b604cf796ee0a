"""Small deterministic logs and the snapshots made of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pytest

from models.catalogue import build
from models.config import ModelConfig
from models.storage import save_model
from tasks.data_specs import Columns, PrepareSpec, SourceSpec
from tasks.home import PROJECT_ROOT, Home
from tasks.ingest import ingest
from tasks.register import Registered, register
from tasks.snapshots import Snapshot
from tasks.sources.source import log_of
from tasks.track import Tracker
from tasks.train import Trained
from tools.browser import Browser, browser

Row = tuple[Any, ...]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A state folder of the test's own."""
    return Home(tmp_path / "home")


@pytest.fixture
def write_log(tmp_path: Path) -> Callable[..., Path]:
    """`write_log(text, name)` writes a log file and gives its path."""

    def write(text: str | bytes, name: str = "log.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


@pytest.fixture
def ingest_file(home: Home) -> Callable[..., Snapshot]:
    """`ingest_file(path, time="ts", …)` ingests a file; the keywords name columns."""

    def run(
        path: Path, *, prepare: PrepareSpec | None = None, format: str = "interactions", **columns: str
    ) -> Snapshot:
        source = SourceSpec.model_validate(
            {"path": str(path), "format": format, "columns": Columns(**columns).model_dump()}
        )
        return ingest(log_of(source, path), prepare or PrepareSpec(), home=home)

    return run


@pytest.fixture
def tiny_rows() -> list[Row]:
    """(user_id, item_id, time in seconds, noise): 30 users with 1 to 30 events each, not in order of time."""
    rows = []
    for user in range(30):
        for event in range(user + 1):
            item = (user * 7 + event * event * 3) % 40
            noise = "misclick" if (user + event) % 11 == 0 else ""
            rows.append((f"u{user:02}", f"i{item}", 1_000_000_000 + (event * 37) % 31 * 60, noise))
    return rows


@pytest.fixture
def tiny_log(tiny_rows: list[Row], write_log: Callable[..., Path]) -> Path:
    """`tiny_rows` as a CSV file."""
    lines = [",".join(map(str, row)) for row in tiny_rows]
    return write_log("\n".join(["user_id,item_id,ts,noise", *lines]) + "\n", "tiny.csv")


@pytest.fixture
def tiny_snapshot(tiny_log: Path, ingest_file: Callable[..., Snapshot]) -> Snapshot:
    """The snapshot of `tiny_log`, with times and noise labels."""
    return ingest_file(tiny_log, time="ts", noise="noise")


@pytest.fixture
def rows_of() -> Callable[[Path], list[Row]]:
    """`rows_of(path)` gives a Parquet file's rows in their order."""

    def read(path: Path) -> list[Row]:
        return duckdb.sql(f"SELECT * FROM read_parquet('{path}')").fetchall()

    return read


@pytest.fixture
def left_in(home: Home) -> Callable[[], Sequence[Path]]:
    """`left_in()` lists everything in the snapshots' folder, hidden folders included."""
    return lambda: sorted(home.snapshots.iterdir()) if home.snapshots.is_dir() else []


@pytest.fixture
def shared_data() -> Path:
    """The folder of real logs; the test skips where it is absent."""
    folder = PROJECT_ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real logs are not here: {folder}")
    return folder


@dataclass(frozen=True)
class Shop:
    """A registered model and what it was made of."""

    snapshot: Snapshot
    trained: Trained
    registered: Registered
    run_id: str


@pytest.fixture(scope="session")
def mlflow_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A state folder whose MLflow database is made once, for it takes seconds."""
    home = Home(tmp_path_factory.mktemp("mlflow"))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        Tracker(home)
    return home


@pytest.fixture
def tracker(mlflow_home: Home, request: pytest.FixtureRequest) -> Tracker:
    """A tracker with an experiment of the test's own."""
    return Tracker(mlflow_home, experiment=request.node.name)


@pytest.fixture(scope="session")
def shops(mlflow_home: Home) -> Callable[[str], Shop]:
    """Makes the shop whose item ids are of a type, once."""
    return cache(lambda id_type: _shop(id_type, mlflow_home))


@pytest.fixture(params=["string", "integer"])
def shop(shops: Callable[[str], Shop], request: pytest.FixtureRequest) -> Shop:
    """An untrained model, registered for a log with raw item ids of each type; string ids have leading zeros."""
    return shops(request.param)


def _shop(id_type: str, mlflow_home: Home) -> Shop:
    item = {"string": "{:03}", "integer": "{}"}[id_type]
    rows = [f"u{user},{item.format((user * 3 + event * 5) % 20)}" for user in range(12) for event in range(8)]
    log = mlflow_home.root / f"{id_type}.csv"
    log.write_text("\n".join(["user_id,item_id", *rows]) + "\n", encoding="utf-8")
    snapshot = ingest(log_of(SourceSpec(path=str(log)), log), PrepareSpec(), home=mlflow_home)
    folder = mlflow_home.steps / "train" / id_type
    folder.mkdir(parents=True)
    config = ModelConfig(dim=8, length=6)
    model = build(config, snapshot.counts.items, seed=3)
    save_model(model, config, folder, item_count=snapshot.counts.items)
    tracker = Tracker(mlflow_home)
    run_id = tracker.open_run(f"key-{id_type}", name=id_type)
    if id_type == "integer":  # as a job leaves a run; the other is one of before jobs logged models
        tracker.log_model(run_id, Trained(folder).model_files, called="recorded", params={"seed": 3}, step=0)
    registered = register(
        Trained(folder),
        snapshot,
        clean=snapshot,
        name=f"model-{id_type}",
        key="first",
        value=0.5,
        decided_on="promotion",
        ranks=Path("of no use without a champion"),
        tags={"method": "sasrec-bce"},
        run_id=run_id,
        tracker=tracker,
        home=mlflow_home,
    )
    return Shop(snapshot, Trained(folder), registered, run_id)


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A window of a real browser."""
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture
def opened(window: Browser, page: Path) -> Browser:
    """The test module's `page`, on a desk, light, with nothing remembered and nothing complained of."""
    window.prefer("light")
    window.size(1200, 900)
    window.open(page)
    if window.run("const kept = localStorage.length; localStorage.clear(); return kept"):
        window.reopen(page)
    return window
