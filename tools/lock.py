"""Write `requirements.lock`: one version of everything, for every Python and system the project supports.

    make lock               keeps the locked versions that still fit pyproject.toml
    make lock UPGRADE=1     takes the newest that fit

uv resolves `pyproject.toml` (the project and its `dev` group) for all of them at once, from a throw-away
environment. CUDA's libraries are left out: they come with the torch build a machine needs, which pins them
itself, so the same lock installs on a laptop, on a CPU-only server and on one with a GPU.
"""

import argparse
import os
import re
import shutil
import subprocess
import tempfile
import venv
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
UV = "uv>=0.13,<0.14"
PYTHONS = ("3.11", "3.12", "3.13")
SYSTEMS = (("linux", "Linux", "x86_64"), ("linux", "Linux", "aarch64"), ("darwin", "Darwin", "arm64"))
CUDA = re.compile(r"triton|cuda-.+|nvidia-(?!ml-py$).+")
HEADER = """\
# For Python 3.11 to 3.13 on Linux and macOS, made from pyproject.toml by `make lock`: do not edit.
# CUDA's libraries are not listed: torch brings the ones that its build needs.
"""


def main() -> None:
    """Resolve, tidy and only then write: a resolution that fails leaves the old lock as it was."""
    arguments = argparse.ArgumentParser(description="Write requirements.lock from pyproject.toml.")
    arguments.add_argument("--upgrade", action="store_true", help="take the newest versions that fit")
    upgrade: bool = arguments.parse_args().upgrade

    lock = ROOT / "requirements.lock"
    with tempfile.TemporaryDirectory() as folder:
        resolved = Path(folder) / "resolved.txt"
        if lock.exists() and not upgrade:
            shutil.copyfile(lock, resolved)  # what uv finds in its output file, it prefers
        resolve(resolved, uv=installed_uv(Path(folder) / "venv"))
        lines = list(tidied(resolved.read_text(encoding="utf-8").splitlines()))
    lock.write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"{lock.name}: {len(lines)} lines")


def tidied(lines: list[str]) -> Iterator[str]:
    """The requirement lines that some supported machine needs, with a marker only where machines differ."""
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        requirement = Requirement(line)
        if CUDA.fullmatch(requirement.name):
            continue
        if requirement.marker is None:
            needed = {True}
        else:
            needed = {requirement.marker.evaluate(machine) for machine in supported_machines()}
        if True in needed:
            if False not in needed:
                requirement.marker = None
            yield str(requirement)


def supported_machines() -> Iterator[dict[str, str]]:
    """Marker environments: the first and a late patch release of every Python, on every system."""
    for python, patch, (platform, system, machine) in product(PYTHONS, ("0", "99"), SYSTEMS):
        yield {
            "python_version": python,
            "python_full_version": f"{python}.{patch}",
            "implementation_name": "cpython",
            "platform_python_implementation": "CPython",
            "os_name": "posix",
            "sys_platform": platform,
            "platform_system": system,
            "platform_machine": machine,
            "extra": "",
        }


def resolve(output: Path, *, uv: Path) -> None:
    """Write uv's universal resolution to `output`, whose present lines are preferred where they fit."""
    command: list[str | Path] = [uv, "pip", "compile", "pyproject.toml", "--group", "dev"]
    command += ["--universal", "--python-version", PYTHONS[0], "--output-file", output]
    command += ["--no-annotate", "--no-header", "--quiet"]
    index = {"UV_DEFAULT_INDEX": os.environ["PIP_INDEX_URL"]} if "PIP_INDEX_URL" in os.environ else {}
    subprocess.run(command, cwd=ROOT, check=True, env=index | os.environ)


def installed_uv(folder: Path) -> Path:
    """The path of a uv installed into a new environment at `folder`."""
    venv.create(folder, with_pip=True)
    subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "-qq", UV], check=True)
    return folder / "bin" / "uv"


if __name__ == "__main__":
    main()
