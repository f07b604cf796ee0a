"""Step keys: they change with what a step does, and with nothing else."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.home import PROJECT_ROOT
from tasks.keys import code_digest, step_key
from tasks.plan import EVALUATE_CODE, TRAIN_CODE

STEPS = (
    TRAIN_CODE,
    EVALUATE_CODE,
    *((f"tasks.{name}",) for name in ("ingest", "corrupt", "filter", "audit.judge", "validate", "shoppers")),
)
TREE = {
    "tasks/step.py": '''"""Opening."""
import sql
from tasks.helper import SIZE
from models import net

LIMIT = 3


def run() -> str:
    """Run it."""
    from tasks import inside
    return sql.load("step/query", table="x") + str(SIZE) + "rules.yaml"
''',
    "tasks/helper.py": "import numpy\n\nSIZE = 1\n",
    "tasks/inside.py": "NAME = 'a'\n",
    "tasks/unrelated.py": "OTHER = 1\n",
    "tasks/rules.yaml": "rule: 1\n",
    "models/net.py": "WIDTH = 8\n",
    "sql/__init__.py": "def load(name, **slots): ...\n",
    "sql/step/query.sql": "select 1\n",
    "sql/step/other.sql": "select 2\n",
}


@pytest.fixture
def digest(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """`digest({path: text, …})`: of the step, in a copy of the tree with these files changed."""

    def run(changes: dict[str, str] | None = None) -> str:
        root = tmp_path_factory.mktemp("tree")
        for name, text in (TREE | (changes or {})).items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return code_digest(("tasks.step",), root=root)

    return run


def edited(name: str, old: str, new: str) -> dict[str, str]:
    assert old in TREE[name]
    return {name: TREE[name].replace(old, new)}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(edited("tasks/step.py", '"""Run it."""', '"""Do it."""'), id="a docstring changed"),
        pytest.param(edited("tasks/step.py", '    """Run it."""\n', ""), id="a docstring gone"),
        pytest.param(edited("tasks/helper.py", "SIZE = 1", 'SIZE = 1\n"""In items."""'), id="a constant described"),
        pytest.param(edited("tasks/step.py", "LIMIT = 3", "# why\n\nLIMIT  =  3  # three"), id="comments and spaces"),
        pytest.param({"tasks/unrelated.py": "OTHER = 2\n"}, id="a module that is not reached"),
        pytest.param({"sql/step/other.sql": "select 3\n"}, id="a query that is not read"),
        pytest.param({"tasks/new.py": "import tasks.step\n"}, id="a module that reaches the step"),
    ],
)
def test_what_changes_no_result_changes_no_key(digest: Callable[..., str], changes: dict[str, str]) -> None:
    assert digest(changes) == digest()


@pytest.mark.parametrize(
    "changes",
    [
        edited("tasks/step.py", "LIMIT = 3", "LIMIT = 4"),
        edited("tasks/step.py", '"x"', '"y"'),
        edited("tasks/helper.py", "SIZE = 1", "SIZE = 2"),
        edited("tasks/inside.py", "'a'", "'b'"),
        edited("tasks/rules.yaml", "1", "2"),
        edited("models/net.py", "8", "9"),
        edited("sql/step/query.sql", "1", "2"),
        edited("sql/__init__.py", "...", "return name"),
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_may_change_a_result_changes_the_key(digest: Callable[..., str], changes: dict[str, str]) -> None:
    assert digest(changes) != digest()


@pytest.mark.parametrize(
    ("change", "concerned"),
    [
        ("models/networks/sasrec.py", ["tasks.train", "tasks.evaluate"]),
        ("sql/sequences/events.sql", ["tasks.train", "tasks.evaluate", "tasks.filter", "tasks.audit.judge"]),
        ("sql/ingest/items.sql", ["tasks.ingest"]),
        ("tasks/corruption/bots.py", ["tasks.corrupt"]),
        ("tasks/track.py", []),
        ("tasks/specs.py", []),
        ("tasks/machine.py", []),
        ("tasks/sources/datasets.py", []),
        ("tasks/sources/fetch.py", []),
        ("tasks/sources/transport.py", []),
        ("flows/robustness.py", []),
    ],
)
def test_in_the_project_a_change_reaches_the_steps_it_concerns(
    tmp_path: Path, change: str, concerned: list[str]
) -> None:
    for room in ("flows", "tasks", "models", "sql"):
        shutil.copytree(PROJECT_ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / change).open("a", encoding="utf-8") as file:
        file.write("\nADDED = 1\n")
    assert [step[0] for step in STEPS if code_digest(step, root=tmp_path) != code_digest(step)] == concerned


def test_a_key_covers_the_inputs_and_the_steps_name() -> None:
    modules = ("tasks.compare",)
    assert step_key(modules, {"a": 1, "b": 2}) == step_key(modules, {"b": 2, "a": 1})
    assert step_key(modules, {"a": 1}) != step_key(modules, {"a": 2})
    assert step_key(("tasks.compare", "tasks.report"), {}) != step_key(("tasks.report", "tasks.compare"), {})
