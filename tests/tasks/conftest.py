"""Small deterministic logs and the snapshots made of them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tasks.home import PROJECT_ROOT, Home
from tasks.ingest import ingest
from tasks.snapshots import Snapshot
from tasks.specs import Columns, PrepareSpec, SourceSpec

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
        return ingest(source, prepare or PrepareSpec(), home=home, log_path=path)

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
