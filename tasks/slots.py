"""Places among the trainings of all flow runs on one Prefect server, by Prefect's global concurrency limits."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from http import HTTPStatus

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency

from tasks.own_server import server_is_shared
from tasks.workers import WorkerStopped

LIMITS = {"cpu": "rec-denoiser-cpu", "cuda": "rec-denoiser-gpu"}
"""Prefect's global concurrency limits on trainings, by device; `flows.server` makes them."""

SECONDS_BETWEEN_LOOKS = 2.0


@dataclass(frozen=True)
class Queue:
    """The steps of a `SideBySide` that wait for a slot of Prefect's: who has `head` looks for one. Once it is `closing`
    they wait no longer.
    """

    head: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)


QUEUE: ContextVar[Queue] = ContextVar("queue")


@contextmanager
def slot(device: str) -> Iterator[None]:
    """A place among the trainings of all flow runs on a Prefect server.

    With a server of one's own there is nobody to share with, and a killed process would leave its slot taken for ever.
    """
    if not server_is_shared():
        yield
        return
    queue = QUEUE.get(None) or Queue()
    with ExitStack() as held:
        with queue.head:
            _wait_for(LIMITS[device], held, closing=queue.closing)
        yield


def _wait_for(limit: str, held: ExitStack, *, closing: threading.Event) -> None:
    """Take a slot of a limit into `held`, as soon as there is one. Raises `WorkerStopped` once it is `closing`."""
    if _has_taken(limit, held):
        return
    get_run_logger().info(
        "all of Prefect's limit %s is taken: this waits until a training of another flow run ends "
        "(`prefect gcl inspect %s` shows its slots)",
        limit,
        limit,
    )
    while not _has_taken(limit, held):
        if closing.wait(SECONDS_BETWEEN_LOOKS):
            raise WorkerStopped("it was told to stop while it waited for a slot")


def _has_taken(limit: str, held: ExitStack) -> bool:
    """Take a slot of a limit into `held`; False where others have all of them just now. Prefect would wait by itself,
    and nothing could end its waiting. A server that is away for a while ends no training that has its slot.
    """
    if not _has_room(limit):
        return False
    try:
        taken = concurrency(limit, occupy=1, strict=True, max_retries=0, raise_on_lease_renewal_failure=False)
        held.enter_context(taken)
    except ConcurrencySlotAcquisitionError as refused:
        answer = getattr(refused.__cause__, "response", None)
        if answer is not None and answer.status_code == HTTPStatus.LOCKED:
            return False
        raise
    return True


def _has_room(limit: str) -> bool:
    """Does a limit look as if it had a free slot? Prefect calls it an error to ask for one in vain."""
    with get_client(sync_client=True) as client:
        found = client.read_global_concurrency_limit_by_name(limit)
    return not found.active or found.active_slots < found.limit
