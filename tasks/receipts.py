"""Receipts: which files a step with a given key left behind.

Prefect remembers that a step was done, not whether its files are still there. A step whose receipt is missing, or
whose files are, is done again.
"""

import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from tasks.home import Home


def write_receipt(key: str, files: Iterable[Path], *, home: Home) -> None:
    """Say that the step left `files`."""
    path = _path(key, home)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    partial.write_text(json.dumps([os.path.relpath(file, home.root) for file in files]), encoding="utf-8")
    partial.replace(path)


def holds(key: str, *, home: Home) -> bool:
    """Has the step been done, and is all that it left still there?"""
    return outputs(key, home=home) is not None


def outputs(key: str, *, home: Home) -> list[Path] | None:
    """What the step left, where it has been done and all of it is still there. A receipt that a power cut has left
    unreadable is none.
    """
    try:
        left = [home.root / output for output in json.loads(_path(key, home).read_text(encoding="utf-8"))]
    except (FileNotFoundError, ValueError):
        return None
    return left if all(output.exists() for output in left) else None


def _path(key: str, home: Home) -> Path:
    return home.steps / "receipts" / f"{key}.json"
