"""Which Prefect servers flow runs share."""

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks.own_server import OWN_SERVER_VARIABLE, server_is_shared

OWN, OTHER = "http://127.0.0.1:8001/api", "http://prefect.example.org/api"


@pytest.mark.parametrize(
    ("address", "own", "shared"),
    [(None, None, False), (OTHER, None, True), (OWN, OWN, False), (OTHER, OWN, True)],
    ids=["none set", "a person's", "the command's", "another than the command's"],
)
def test_a_server_is_shared_unless_the_command_started_it_for_itself(
    monkeypatch: pytest.MonkeyPatch, address: str | None, own: str | None, *, shared: bool
) -> None:
    monkeypatch.delenv(OWN_SERVER_VARIABLE, raising=False)
    if own is not None:
        monkeypatch.setenv(OWN_SERVER_VARIABLE, own)
    changes = {"updates": {PREFECT_API_URL: address}} if address else {"restore_defaults": {PREFECT_API_URL}}
    with temporary_settings(**changes):
        assert server_is_shared() is shared
