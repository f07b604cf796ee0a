"""What a flow run leaves on a Prefect server, and what a killed one left there."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

from prefect import get_run_logger, runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.states import Crashed

from tasks.errors import InputError
from tasks.home import Home
from tasks.leases import Lease, abandoned, lease
from tasks.machine import usable_cores
from tasks.own_server import server_is_shared
from tasks.slots import LIMITS
from tasks.track import Tracker, reason

WORK_POOL = "rec-denoiser"
FLOW_RUNS_AT_A_TIME = 2


@contextmanager
def leased(home: Home) -> Iterator[Lease]:
    """Hold a lease on this flow run, after closing what killed processes left open: MLflow runs that say "running",
    and flow runs likewise.
    """
    with lease(home=home) as held:
        held.note(flow_run=str(runtime.flow_run.id))
        for runs in abandoned(home=home):
            if "mlflow_run" in runs:
                _close_run(runs["mlflow_run"], home)
            _close_flow_run(UUID(runs["flow_run"]))
        yield held


def ensure_limits() -> None:
    """Make the concurrency limits that trainings rely on where they are missing: on a server, one training a GPU and
    one a core. What a person has set stays.
    """
    if not server_is_shared():
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


def _close_run(run_id: str, home: Home) -> None:
    """Close an MLflow run and its children. Where that cannot be done, as of a run that somebody has deleted since, it
    is said, and keeps nobody from a job of their own.
    """
    from mlflow.exceptions import MlflowException

    try:
        Tracker(home).close_open_runs(run_id, "KILLED")
    except (MlflowException, InputError) as error:
        if getattr(error, "error_code", None) != "RESOURCE_DOES_NOT_EXIST":
            get_run_logger().warning("the MLflow run %s of a killed process stays as it is: %s", run_id, reason(error))


def _close_flow_run(run_id: UUID) -> None:
    """Mark a flow run, and the tasks that it was at, as crashed, where this server knows them as not ended."""
    crashed: State[Any] = Crashed(message="Its process was killed.")
    this = FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))
    with get_client(sync_client=True) as client:
        for task_run in client.read_task_runs(flow_run_filter=this):
            if task_run.state is None or not task_run.state.is_final():
                client.set_task_run_state(task_run.id, crashed, force=True)
        for flow_run in client.read_flow_runs(flow_run_filter=this):
            if flow_run.state is None or not flow_run.state.is_final():
                client.set_flow_run_state(flow_run.id, crashed, force=True)
