"""What every test needs to stand alone."""

import os
from collections.abc import Iterator

import pytest

SETTINGS = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "PREFECT_API_URL", "PREFECT_HOME", "REC_DENOISER_HOME")


@pytest.fixture(autouse=True)
def _own_settings() -> Iterator[None]:
    """Neither the person's servers nor those of an earlier test: MLflow exports the tracking server it is given."""
    saved = {name: os.environ.pop(name) for name in SETTINGS if name in os.environ}
    yield
    for name in SETTINGS:
        os.environ.pop(name, None)
    os.environ.update(saved)
