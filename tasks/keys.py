"""Step keys: what a step's result depends on, in one digest.

A key covers the step's inputs, the code it runs (the step's module and all project modules and queries that it
reaches through imports) and, where digits depend on it, the record of how it ran. The same key is never computed
twice; a change of a comment or a docstring changes no key.
"""

import ast
import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tasks.digests import canonical_json
from tasks.home import PROJECT_ROOT

ROOMS = ("flows", "tasks", "models", "sql")
ONE_PARSES = threading.Lock()
TRIES = 5
"""Up to Python 3.11.7, two threads that parse at once can fail with a `SystemError` (python/cpython, issue 106905), and
trainings start in threads. Those of Prefect cannot be told to wait; then parsing again helps.
"""


def step_key(modules: tuple[str, ...], inputs: Mapping[str, Any]) -> str:
    """The key of a step that `modules` carry out on `inputs` (JSON values); the first names the step."""
    content = canonical_json({"step": modules[0], "inputs": dict(inputs), "code": code_digest(modules)})
    return hashlib.sha256(content.encode()).hexdigest()


@cache
def code_digest(modules: tuple[str, ...], *, root: Path = PROJECT_ROOT) -> str:
    """A digest of `modules`, the modules under `root` they reach by imports, their queries and data files."""
    hasher = hashlib.sha256()
    for path, read in sorted(_reached(modules, root).items()):
        hasher.update(path.relative_to(root).as_posix().encode() + b"\0")
        hasher.update(read.meaning + b"\0")
    return hasher.hexdigest()


@dataclass(frozen=True)
class _Read:
    """What a file means, and the files of the project that it depends on."""

    meaning: bytes
    dependencies: tuple[Path, ...] = ()


def _reached(modules: tuple[str, ...], root: Path) -> dict[Path, _Read]:
    """Files of the project that `modules` depend on, themselves included."""
    found: dict[Path, _Read] = {}
    waiting = [path for module in modules if (path := _module_file(module, root))]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found[path] = _read(path, root)
            waiting += found[path].dependencies
    return found


@cache
def _read(path: Path, root: Path) -> _Read:
    """A Python file means its syntax tree without docstrings; any other file its bytes.

    Steps share most of their modules, and to parse and print one takes milliseconds: hence once a process.
    """
    if path.suffix != ".py":
        return _Read(path.read_bytes())
    tree = _parsed(path)
    dependencies = tuple(dict.fromkeys(found for found in _dependencies(tree, path, root) if found))
    return _Read(ast.dump(_Undocumented().visit(tree)).encode(), dependencies)


def _dependencies(tree: ast.Module, path: Path, root: Path) -> Iterator[Path | None]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield _module_file(alias.name, root)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield _module_file(node.module, root)
            for alias in node.names:
                yield _module_file(f"{node.module}.{alias.name}", root)
        elif isinstance(node, ast.Call) and (query := _query_name(node)):
            yield root / "sql" / f"{query}.sql"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.endswith(".yaml"):
            beside = path.parent / node.value
            yield beside if beside.is_file() else None


def _query_name(call: ast.Call) -> str | None:
    """The name in a call `sql.load("name", …)`, else None."""
    function = call.func
    if not (isinstance(function, ast.Attribute) and function.attr == "load" and isinstance(function.value, ast.Name)):
        return None
    first = call.args[0] if call.args else None
    if function.value.id != "sql" or not isinstance(first, ast.Constant):
        return None
    return str(first.value)


def _module_file(module: str, root: Path) -> Path | None:
    """The file of a project module, or None for one of somebody else's."""
    if module.split(".")[0] not in ROOMS:
        return None
    path = root.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


class _Undocumented(ast.NodeTransformer):
    """Takes docstrings out, those of constants and fields included."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        documents = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if documents else node


def _parsed(path: Path) -> ast.Module:
    text = path.read_text(encoding="utf-8")
    with ONE_PARSES:
        for _ in range(TRIES - 1):
            with suppress(SystemError):
                return ast.parse(text, filename=str(path))
        return ast.parse(text, filename=str(path))
