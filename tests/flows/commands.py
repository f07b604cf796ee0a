"""Commands that are run to their end, each test's in a folder of its own."""

import os
import subprocess
import sys
from pathlib import Path

from tasks.home import PROJECT_ROOT


def rec_denoiser(folder: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """The command, run to its end in a folder that has its state in it."""
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        cwd=folder,
        env=environment(folder) | variables,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )


def environment(folder: Path) -> dict[str, str]:
    folders = {"REC_DENOISER_HOME": str(folder / "home"), "TMPDIR": str(folder), "PYTHONPATH": str(PROJECT_ROOT)}
    return dict(os.environ) | folders
