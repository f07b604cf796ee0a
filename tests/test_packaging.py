"""What holds the house together: the lock, the declared dependencies, the direction of imports, commands."""

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("flows", "tasks", "models", "sql")
PYTHONS = ("3.11", "3.12", "3.13")
SYSTEMS = ("linux", "darwin")

# What is known to break outside of these, whatever a resolver may find.
PINS = {
    "fastapi": ">=0.139,<0.151",
    "prefect": ">=3.8.8,<3.9",
    "mlflow": ">=3.17.2,<3.18",
    "great-expectations": ">=1.24.1,<1.25",
    "duckdb": ">=1.5.6,<2",
    "duckdb-sqlalchemy": ">=1.5.6.5",
    "sqlalchemy": ">=2.0.58,<2.2",
    "pandas": ">=3.1,<4",
    "torch": "==2.13.0",
}

# Which of the project's rooms and which other packages a room may import. None: whatever is declared.
NEIGHBOURS: dict[str, tuple[set[str], set[str] | None]] = {
    "flows": ({"flows", "tasks", "models"}, None),
    "tasks": ({"tasks", "models", "sql"}, None),
    "models": ({"models"}, {"torch", "numpy"}),
    "sql": ({"sql"}, set()),
}
ALSO = {"models/serving.py": {"mlflow", "pandas"}, "models/denoising/sparse.py": {"entmax"}}
NOT_IN_FLOWS = {"torch", "numpy", "duckdb", "sqlalchemy"}


# --- the lock -----------------------------------------------------------------


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_gives_every_declared_dependency_a_version_in_its_range(python: str, system: str) -> None:
    locked = locked_versions(python, system)
    for requirement in [*runtime_requirements(), *development_requirements()]:
        name = canonicalize_name(requirement.name)
        assert name in locked, f"{name} is not in requirements.lock: run `make lock`"
        assert requirement.specifier.contains(locked[name]), f"{name} {locked[name]} is not {requirement.specifier}"


@pytest.mark.parametrize("name", PINS)
def test_the_lock_stays_inside_what_is_known_to_work(name: str) -> None:
    for python in PYTHONS:
        for system in SYSTEMS:
            assert SpecifierSet(PINS[name]).contains(locked_versions(python, system)[name])


def test_the_lock_names_versions_and_nothing_of_the_machine_that_made_it() -> None:
    for line in lock_lines():
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*(; [a-z_]+ [<>=!]+ .+)?", line), line
        assert not re.search(r"://|[/\\@+]|--", line), line


def test_the_lock_leaves_cuda_to_torch() -> None:
    assert [n for n in lock_names() if re.match(r"triton|cuda-|nvidia-(?!ml-py$)", n)] == []


@pytest.mark.parametrize("name", ["duckdb-engine"])
def test_the_lock_is_free_of_what_clashes(name: str) -> None:
    assert name not in lock_names()  # it registers the same dialect as duckdb-sqlalchemy


# --- imports ------------------------------------------------------------------


@pytest.mark.parametrize("room", [*ROOMS, "tests", "tools"])
def test_every_import_of_another_package_is_declared(room: str) -> None:
    requirements = runtime_requirements()
    if room not in ROOMS:
        requirements += development_requirements()
    declared = {canonicalize_name(requirement.name) for requirement in requirements}
    distributions = importlib.metadata.packages_distributions()
    for path, module in imports_of(room):
        top = module.partition(".")[0]
        if is_foreign(top):
            owners = {canonicalize_name(owner) for owner in distributions.get(top, [])}
            assert owners & declared, f"{path}: {top} belongs to {owners or 'nobody'}, not declared in pyproject.toml"


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_one_way(room: str) -> None:
    rooms, packages = NEIGHBOURS[room]
    for path, module in imports_of(room):
        top = module.partition(".")[0]
        if top in ROOMS:
            assert top in rooms, f"{path} imports {module}"
        elif is_foreign(top) and packages is not None:
            assert top in packages | ALSO.get(path, set()), f"{path} imports {module}"


def test_nothing_imports_the_tests() -> None:
    for room in ROOMS:
        for path, module in imports_of(room):
            assert module.partition(".")[0] not in {"tests", "tools", "benchmarks"}, path


def test_engine_and_serving_know_no_single_network() -> None:
    for path, module in imports_of("models"):
        if path.startswith("models/engine/") or path == "models/serving.py":
            assert not module.startswith("models.networks."), f"{path} imports {module}"


def test_flows_hold_no_maths_and_no_queries() -> None:
    for path, module in imports_of("flows"):
        assert module.partition(".")[0] not in NOT_IN_FLOWS, f"{path} imports {module}"


def test_flows_keep_their_annotations() -> None:
    """Postponed annotations hide a flow's pydantic parameters when another script serves it."""
    assert [path for path, module in imports_of("flows") if module.startswith("__future__")] == []


# --- commands and settings ----------------------------------------------------


def test_make_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z]+):(?!=)", makefile, flags=re.MULTILINE)
    shown = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = re.findall(r"^  make ([a-z]+) +\S", shown.stdout, flags=re.MULTILINE)
    assert listed == targets
    assert {"setup", "run", "test", "lint", "types", "unit", "slow", "reset"} <= set(listed)


def test_make_says_which_python_it_needs(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    made = subprocess.run(
        ["make", "--no-print-directory", "setup", "PYTHON=/bin/false"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert made.returncode != 0
    assert "needs Python 3.11, 3.12 or 3.13 with its venv module: /bin/false is not" in made.stderr
    assert not (tmp_path / ".venv").exists()


def test_prefect_knows_every_setting_of_prefect_toml() -> None:
    """Prefect ignores a key that it does not know, so a misspelt one would go unnoticed."""
    from prefect.settings import Settings

    settings = tomllib.loads((ROOT / "prefect.toml").read_text(encoding="utf-8"))
    for path in leaves(settings):
        model: type = Settings
        for key in path:
            fields = getattr(model, "model_fields", {})
            assert key in fields, ".".join(path)
            model = fields[key].annotation


def test_a_wheel_carries_queries_and_tables(tmp_path: Path) -> None:
    for room in ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    command = [sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "--no-build-isolation", "."]
    subprocess.run(command, cwd=tmp_path, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*")):
            if path.suffix in {".py", ".sql", ".yaml"}:
                assert path.relative_to(ROOT).as_posix() in packed


# --- helpers ------------------------------------------------------------------


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def runtime_requirements() -> list[Requirement]:
    return [Requirement(line) for line in project()["project"]["dependencies"]]


def development_requirements() -> list[Requirement]:
    return [Requirement(line) for line in project()["dependency-groups"]["dev"]]


def lock_lines() -> list[str]:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def lock_names() -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in lock_lines()}


def locked_versions(python: str, system: str) -> dict[str, str]:
    """Name → version of what the lock installs there; fails where it gives one name two versions."""
    machine = {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "sys_platform": system,
        "platform_system": system.capitalize(),
    }
    versions: dict[str, str] = {}
    for line in lock_lines():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(machine):
            name = canonicalize_name(requirement.name)
            assert name not in versions, f"{name} twice for Python {python} on {system}"
            (exact,) = requirement.specifier
            assert exact.operator == "=="
            versions[name] = exact.version
    return versions


def imports_of(room: str) -> Iterator[tuple[str, str]]:
    """(file, imported module) for every import of a room, those inside functions included."""
    for path in sorted((ROOT / room).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=name)):
            if isinstance(node, ast.Import):
                yield from ((name, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name}: relative imports hide which room they lead to"
                yield from ((name, f"{node.module}.{alias.name}") for alias in node.names)


def is_foreign(top: str) -> bool:
    return top not in {*ROOMS, "tests", "tools", "benchmarks"} and top not in sys.stdlib_module_names


def leaves(table: dict, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)
