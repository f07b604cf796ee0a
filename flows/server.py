"""What a flow run leaves on a Prefect server, and what a killed one left there."""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

import psutil
from prefect import runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.settings import get_current_settings
from prefect.states import Crashed

from tasks.execution import usable_cores
from tasks.home import Home
from tasks.leases import Lease, lease, take_abandoned
from tasks.steps import LIMITS
from tasks.track import Tracker

SERVER_COMMAND = "prefect.server.api.server"
WORK_POOL = "rec-denoiser"
FLOW_RUNS_AT_A_TIME = 2


@contextmanager
def leased(home: Home) -> Iterator[Lease]:
    """Hold a lease on this flow run, after closing what killed processes left open: MLflow runs that say "running",
    flow runs likewise, and servers that nobody uses any more.
    """
    abandoned = take_abandoned(home=home)
    _close_runs([runs["mlflow_run"] for runs in abandoned if "mlflow_run" in runs], home)
    _close_flow_runs([runs["flow_run"] for runs in abandoned])
    for runs in abandoned:
        _end_server(runs)
    with lease(home=home) as held:
        held.note(flow_run=str(runtime.flow_run.id), **_own_server())
        yield held


def ensure_limits() -> None:
    """Make the concurrency limits that trainings rely on where they are missing: on a server, one training a GPU and
    one a core. What a person has set stays.
    """
    if get_current_settings().api.url is None:
        return
    with get_client(sync_client=True) as client:
        for device, slots in (("cuda", 1), ("cpu", usable_cores())):
            try:
                client.read_global_concurrency_limit_by_name(LIMITS[device])
            except ObjectNotFound:
                client.upsert_global_concurrency_limit_by_name(LIMITS[device], slots)


def ensure_work_pool() -> None:
    """Make the pool of local processes that the deployments name where it is missing. What a person has set stays."""
    from prefect.workers.process import ProcessWorker

    pool = WorkPoolCreate(
        name=WORK_POOL,
        type=ProcessWorker.type,
        description="Processes on this machine.",
        base_job_template=ProcessWorker.get_default_base_job_template(),
        concurrency_limit=FLOW_RUNS_AT_A_TIME,
    )
    with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):
        client.create_work_pool(pool)


def artifact_key(kind: str, dataset: str) -> str:
    """An artifact's key: each data set has a history of its own. Prefect wants small letters, digits and dashes."""
    return f"{kind}-{re.sub('[._]', '-', dataset)}"


def _close_runs(run_ids: list[str], home: Home) -> None:
    if run_ids:
        tracker = Tracker(home)
        for run_id in run_ids:
            tracker.close_open_runs(run_id, "KILLED")


def _close_flow_runs(run_ids: list[str]) -> None:
    if not run_ids:
        return
    with get_client(sync_client=True) as client:
        for run_id in run_ids:
            with suppress(ObjectNotFound):
                state = client.read_flow_run(UUID(run_id)).state
                if state is not None and not state.is_final():
                    client.set_flow_run_state(UUID(run_id), Crashed(message="Its process was killed."), force=True)


def _own_server() -> dict[str, str]:
    """The temporary server that Prefect started for this process, if it did."""
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if SERVER_COMMAND in " ".join(child.cmdline()):
                return {"server": str(child.pid), "server_started": str(child.create_time())}
    return {}


def _end_server(runs: dict[str, str]) -> None:
    """End a killed process's temporary server; its start time tells it from a later process of the same number."""
    with suppress(psutil.Error, KeyError):
        process = psutil.Process(int(runs["server"]))
        if str(process.create_time()) == runs["server_started"] and SERVER_COMMAND in " ".join(process.cmdline()):
            process.send_signal(signal.SIGTERM)
