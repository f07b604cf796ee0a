"""`rec-denoiser ui …` serves a page and ends when it is told to."""

from typing import Any

import pytest

from tests.flows.conftest import descendants

pytestmark = pytest.mark.slow


def test_mlflow_answers_and_ends_on_ctrl_c(workplace: Any, free_port: int, wait_until: Any) -> None:
    """Prefect's interface is under test in test_prefect_server.py."""
    interface = workplace.start("flows.cli", "ui", "mlflow", "--port", str(free_port))
    page = workplace.wait_for_page(f"http://127.0.0.1:{free_port}/", interface, within=120)
    assert page.status_code == 200
    assert "MLflow" in page.text
    commands = [" ".join(process.cmdline()) for process in descendants(interface.process.pid)]
    assert commands
    assert not [command for command in commands if ".jobs." in command], "a gigabyte for what nobody asks for here"
    address = f"MLflow is at http://127.0.0.1:{free_port}\n"  # and no page: there is no run yet
    said = wait_until(lambda: address in (words := interface.output.read_text(encoding="utf-8")) and words, within=30)
    assert said.index("MLflow is starting") < said.index("Uvicorn running") < said.index(address)
    interface.interrupt(within=30)
