"""The deployments of `prefect.yaml`: put on a server, and worked off."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName
from prefect.settings import get_current_settings

from flows.running import become
from flows.server import WORK_POOL, ensure_limits, ensure_work_pool
from tasks.errors import InputError, RunFailed
from tasks.home import PROJECT_ROOT


def deploy() -> int:
    """Make what the deployments rely on, then deploy all of them; exit status.

    Raises `InputError` where no server answers, `RunFailed` where Prefect refuses a deployment.
    """
    url = _server()
    ensure_limits()
    ensure_work_pool()
    # Prefect reads the project's root from PWD, which a changed working folder alone does not change.
    environment = os.environ | {"PWD": str(PROJECT_ROOT)}
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
        raise RunFailed("Prefect did not take every deployment of prefect.yaml; what it says stands above")
    names, left_over = told_apart(_deployed(), (PROJECT_ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    print(f"Deployed to {url}: {', '.join(names)}")
    if left_over:
        print("In the same pool, and not in prefect.yaml: each runs on until it is deleted by hand")
        print("\n".join(f"  PREFECT_API_URL={url} .venv/bin/prefect deployment delete {name}" for name in left_over))
    print("A worker runs them:    .venv/bin/rec-denoiser worker")
    print(f"One at once, by hand:  PREFECT_API_URL={url} .venv/bin/prefect deployment run {_example(names)} --watch")
    return 0


def told_apart(deployed: Mapping[str, tuple[str, str]], file: str) -> tuple[list[str], list[str]]:
    """The flow/name of those deployments that a file like `prefect.yaml` has, and of the others. `deployed`: by
    flow/name the entrypoint and the name.
    """
    asked = {(str(each["entrypoint"]), str(each["name"])) for each in yaml.safe_load(file)["deployments"]}
    names = sorted(deployed)
    return [name for name in names if deployed[name] in asked], [name for name in names if deployed[name] not in asked]


def _example(names: Sequence[str]) -> str:
    """The deployment that a person is shown how to run by hand: the main job, where it is among them."""
    return next((name for name in names if name.startswith("robustness/")), names[-1])


def work() -> NoReturn:
    """Become a worker of the deployments' pool. Raises `InputError` where no server answers."""
    _server()
    ensure_work_pool()
    # Prefect ends a worker that is terminated by this signal, which a shell has its background processes ignore.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    become("prefect", "worker", "start", "--pool", WORK_POOL)


def _server() -> str:
    """The address of the server, which answers."""
    url = str(get_current_settings().api.url)
    with get_client(sync_client=True) as client:
        if client.api_healthcheck() is not None:
            raise InputError(
                f"no Prefect server answers at {url}: start one with `rec-denoiser ui prefect`, "
                "or name another in PREFECT_API_URL"
            )
    return url


def _deployed() -> dict[str, tuple[str, str]]:
    """By flow/name the entrypoint and the name of every deployment in our pool."""
    pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[WORK_POOL]))
    with get_client(sync_client=True) as client:
        deployments = client.read_deployments(work_pool_filter=pool)
        return {
            f"{client.read_flow(deployment.flow_id).name}/{deployment.name}": (
                str(deployment.entrypoint),
                deployment.name,
            )
            for deployment in deployments
        }
