"""Step keys: what a step's result depends on, in one digest.

A key covers the step's inputs, the code it runs (the step's module and all project modules and queries that it
reaches through imports) and, where digits depend on it, the record of how it ran. The same key is never computed
twice; a change of a comment or a docstring changes no key.
"""

import ast
import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tasks.digests import canonical_json
from tasks.home import PROJECT_ROOT

ROOMS = ("flows", "tasks", "models", "sql")


def step_key(modules: tuple[str, ...], inputs: Mapping[str, Any]) -> str:
    """The key of a step that `modules` carry out on `inputs` (JSON values); the first names the step."""
    content = canonical_json({"step": modules[0], "inputs": dict(inputs), "code": code_digest(modules)})
    return hashlib.sha256(content.encode()).hexdigest()


@cache
def code_digest(modules: tuple[str, ...]) -> str:
    """A digest of `modules`, the project modules they reach by imports, their queries and data files."""
    hasher = hashlib.sha256()
    for path in sorted(_reached(modules)):
        hasher.update(path.relative_to(PROJECT_ROOT).as_posix().encode() + b"\0")
        hasher.update(_meaning(path) + b"\0")
    return hasher.hexdigest()


def _reached(modules: tuple[str, ...]) -> set[Path]:
    """Files of the project that `modules` depend on, themselves included."""
    found: set[Path] = set()
    waiting = [_module_file(module) for module in modules]
    while waiting:
        path = waiting.pop()
        if path is None or path in found:
            continue
        found.add(path)
        if path.suffix == ".py":
            waiting += list(_dependencies(path))
    return found


def _dependencies(path: Path) -> Iterator[Path | None]:
    for node in ast.walk(_parsed(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield _module_file(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield _module_file(node.module)
            for alias in node.names:
                yield _module_file(f"{node.module}.{alias.name}")
        elif isinstance(node, ast.Call) and (query := _query_name(node)):
            yield PROJECT_ROOT / "sql" / f"{query}.sql"
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


def _module_file(module: str) -> Path | None:
    """The file of a project module, or None for one of somebody else's."""
    if module.split(".")[0] not in ROOMS:
        return None
    path = PROJECT_ROOT.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _meaning(path: Path) -> bytes:
    """A Python file's syntax tree without docstrings; any other file's bytes."""
    if path.suffix != ".py":
        return path.read_bytes()
    tree = _parsed(path)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            body[0] = ast.copy_location(ast.Pass(), body[0])
    return ast.dump(tree).encode()


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
