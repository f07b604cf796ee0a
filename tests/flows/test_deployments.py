"""prefect.yaml says what Prefect understands and what the flows take; Prefect passes over keys it does not know."""

import re
import signal
from collections.abc import Iterator, Mapping
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from tasks.home import PROJECT_ROOT

KEYS = {
    "file": {"name", "definitions", "deployments"},
    "deployment": {
        *("name", "entrypoint", "description", "tags", "parameters"),
        *("schedules", "concurrency_limit", "work_pool"),
    },
    "schedule": {"slug", "cron", "timezone", "active"},
    "concurrency_limit": {"limit", "collision_strategy"},
    "work_pool": {"name", "job_variables"},
}
"""The keys in use. A new one belongs here once it has been seen to work."""

EXAMPLE = "  # - name: my-log"


@pytest.fixture(scope="module")
def text() -> str:
    return (PROJECT_ROOT / "prefect.yaml").read_text(encoding="utf-8")


@pytest.fixture(scope="module", params=["as it is", "with the example"])
def content(request: pytest.FixtureRequest, text: str) -> dict[str, Any]:
    """The file's content: as it is, and with the marks of the example taken away."""
    if request.param == "with the example":
        before, marked, example = text.partition(EXAMPLE)
        assert marked
        text = before + re.sub(r"^  # ", "  ", marked + example, flags=re.MULTILINE)
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def deployments(content: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for deployment in content["deployments"]:
        yield f"{deployment['entrypoint']} {deployment['name']}", deployment


def flow_of(deployment: Mapping[str, Any]) -> Any:
    from prefect.flows import load_flow_from_entrypoint

    path, function = deployment["entrypoint"].split(":")
    return load_flow_from_entrypoint(f"{PROJECT_ROOT / path}:{function}", use_placeholder_flow=False)


def test_no_key_is_one_that_prefect_would_pass_over(content: dict[str, Any]) -> None:
    assert set(content) <= KEYS["file"]
    for name, deployment in deployments(content):
        assert set(deployment) == KEYS["deployment"], name
        assert set(deployment["concurrency_limit"]) == KEYS["concurrency_limit"], name
        assert set(deployment["work_pool"]) == KEYS["work_pool"], name
        for schedule in deployment["schedules"]:
            assert set(schedule) == KEYS["schedule"], name


def test_prefect_reads_the_file_as_it_is_meant(content: dict[str, Any]) -> None:
    from prefect.cli.deploy._models import PrefectYamlModel

    read = PrefectYamlModel.model_validate(content).model_dump(exclude_unset=True)
    for (name, meant), taken in zip(deployments(content), read["deployments"], strict=True):
        for key in KEYS["deployment"]:
            assert taken[key] == meant[key], f"{name}: {key}"


def test_every_flow_takes_its_parameters(content: dict[str, Any]) -> None:
    for name, deployment in deployments(content):
        flow = flow_of(deployment)
        parameters = deployment["parameters"]
        assert list(parameters) == ["spec"], name
        flow.validate_parameters(parameters)


def test_the_server_takes_every_parameter(content: dict[str, Any]) -> None:
    """It holds what is asked for to the flow's schema, before the flow sees it."""
    for name, deployment in deployments(content):
        assert refused_by_the_server(flow_of(deployment), deployment["parameters"]) == [], name


@pytest.mark.parametrize(
    "method", ["sasrec-softmax", {"name": "rec-denoiser", "model": {"dim": 64}}, {"name": "rec-denoiser"}], ids=str
)
def test_the_server_takes_a_method_by_its_name(method: Any) -> None:
    from flows.robustness import robustness

    assert refused_by_the_server(robustness, {"spec": {"methods": [method]}}) == []


def test_the_lists_that_the_file_speaks_of_are_taken(text: str) -> None:
    from flows.recommend import recommend

    marked = re.findall(r"^ +# ((?:only|exclude)_file: .+)$", text, flags=re.MULTILINE)
    assert len(marked) == 2
    named = ({"only": ["a", "b"], "exclude": ["c"]}, yaml.safe_load("{only: [17, -5], exclude: [4], history: [9]}"))
    for lists in (yaml.safe_load("\n".join(marked)), *named):
        recommend.validate_parameters({"spec": lists})
        assert refused_by_the_server(recommend, {"spec": lists}) == []
    assert refused_by_the_server(recommend, {"spec": {"only": "a"}})


@pytest.mark.parametrize("method", ["sasrec-sofmax", {"name": "mine", "model": {"dimension": 64}}], ids=str)
def test_the_server_takes_no_misspelt_method(method: Any) -> None:
    from flows.robustness import robustness

    assert refused_by_the_server(robustness, {"spec": {"methods": [method]}})


def refused_by_the_server(flow: Any, parameters: Mapping[str, Any]) -> list[str]:
    """What a Prefect server says against parameters."""
    from prefect.utilities.callables import parameter_schema
    from prefect.utilities.schema_tools.validation import validate

    schema = parameter_schema(flow).model_dump_for_openapi()
    return [error.message for error in validate(dict(parameters), schema, raise_on_error=False)]


def test_a_misspelt_parameter_is_refused(content: dict[str, Any]) -> None:
    from prefect.exceptions import ParameterTypeError

    for name, deployment in deployments(content):
        flow = flow_of(deployment)
        with pytest.raises(ParameterTypeError, match="misspelt"):
            flow.validate_parameters({"spec": {**deployment["parameters"]["spec"], "misspelt": 1}})
        assert name


def test_every_schedule_is_one_that_comes_round(content: dict[str, Any]) -> None:
    from prefect.client.schemas.schedules import CronSchedule

    for name, deployment in deployments(content):
        for schedule in deployment["schedules"]:
            CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])
            assert ZoneInfo(schedule["timezone"]), name
            assert schedule["active"] is True, name


def test_the_pool_is_the_one_that_deploy_makes(content: dict[str, Any]) -> None:
    from flows.server import WORK_POOL

    for name, deployment in deployments(content):
        assert deployment["work_pool"]["name"] == WORK_POOL, name


def test_no_two_deployments_share_a_name(content: dict[str, Any]) -> None:
    names = [name for name, _ in deployments(content)]
    assert len(names) == len(set(names))
    assert "flows/robustness.py:robustness shoppers" in names


def test_a_deployment_that_is_no_longer_in_the_file_is_told_from_those_that_are(text: str) -> None:
    from flows.deploying import told_apart

    content = yaml.safe_load(text)
    asked = {f"flow-{number}/{each['name']}": (each["entrypoint"], each["name"])
             for number, each in enumerate(content["deployments"])}  # fmt: skip
    gone = {"robustness/old": ("flows/robustness.py:robustness", "old"), "gone/shoppers": ("flows/x.py:x", "shoppers")}
    assert told_apart(asked | gone, text) == (sorted(asked), sorted(gone))


def test_a_worker_that_a_shell_started_in_the_background_can_be_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """There it begins with SIGINT ignored, which Prefect sends itself where it is terminated."""
    from flows import deploying

    became: list[Any] = []
    monkeypatch.setattr(deploying, "_server", lambda: "http://127.0.0.1:4200/api")
    monkeypatch.setattr(deploying, "ensure_work_pool", lambda: None)
    monkeypatch.setattr(deploying, "become", lambda *module: became.append((module, signal.getsignal(signal.SIGINT))))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        deploying.work()
    finally:
        signal.signal(signal.SIGINT, before)
    assert became == [(("prefect", "worker", "start", "--pool", "rec-denoiser"), signal.SIG_DFL)]
