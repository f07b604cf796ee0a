"""What every test needs to stand alone."""

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

# What is drawn is the same each time, so that a test fails where a change has broken something; with
# `--hypothesis-profile=searching`, as in `make slow`, it is new each time.
settings.register_profile("repeating", derandomize=True)
settings.register_profile("searching", derandomize=False)
settings.load_profile("repeating")

SETTINGS = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "PREFECT_API_URL", "PREFECT_HOME", "REC_DENOISER_HOME")


@pytest.fixture(autouse=True)
def _own_settings() -> Iterator[None]:
    """Neither the person's servers nor those of an earlier test: MLflow exports the tracking server it is given."""
    saved = {name: os.environ.pop(name) for name in SETTINGS if name in os.environ}
    yield
    for name in SETTINGS:
        os.environ.pop(name, None)
    os.environ.update(saved)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers do what they are asked for in this process; trainings have none here."""
    from models.__main__ import rank_targets
    from models.audit import audit_log
    from models.detect import judge_interactions
    from models.filter import judge_log
    from tasks import detect, evaluate, workers
    from tasks import filter as filtering
    from tasks.audit import judge

    verbs = {
        (workers.PROGRAM, "rank"): rank_targets,
        (filtering.PROGRAM, "judge"): judge_log,
        (detect.PROGRAM, "detect"): judge_interactions,
        (judge.PROGRAM, "audit"): audit_log,
    }

    def run(verb: str, request: dict[str, Any], *, program: str = workers.PROGRAM) -> dict[str, Any]:
        return verbs[program, verb](dict(request))

    for module in (evaluate, filtering, detect, judge):
        monkeypatch.setattr(module, "run_worker", run)


@pytest.fixture(scope="module")
def free_port() -> int:
    """A port that nothing listens on."""
    return unused_port()


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
