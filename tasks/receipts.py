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


def write_receipt(key: str, outputs: Iterable[Path], *, home: Home) -> None:
    """Say that the step left `outputs`."""
    path = _path(key, home)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    partial.write_text(json.dumps([os.path.relpath(output, home.root) for output in outputs]), encoding="utf-8")
    partial.replace(path)


def holds(key: str, *, home: Home) -> bool:
    """Has the step been done, and is all that it left still there?"""
    path = _path(key, home)
    if not path.exists():
        return False
    outputs: list[str] = json.loads(path.read_text(encoding="utf-8"))
    return all((home.root / output).exists() for output in outputs)


def _path(key: str, home: Home) -> Path:
    return home.steps / "receipts" / f"{key}.json"
