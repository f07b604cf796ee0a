"""What every test needs to stand alone."""

import os
import socket
from collections.abc import Iterator

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


@pytest.fixture(scope="module")
def free_port() -> int:
    """A port that nothing listens on."""
    return unused_port()


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
