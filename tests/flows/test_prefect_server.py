"""The flows as Prefect's users run them: a server, the deployments of prefect.yaml, a worker, a run by hand."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tasks.home import PROJECT_ROOT
from tasks.track import TAG_PARENT, TAG_PREFECT

pytestmark = pytest.mark.slow

SPEC = {
    "dataset": "tiny.shop",
    "source": {"shoppers": {"users": 60, "items": 60}},
    "noise": {"ratios": [0, 0.2]},
    "methods": [
        {"name": "sasrec-softmax", "model": {"loss": "softmax", "dim": 8, "length": 10, "blocks": 1, "heads": 1}}
    ],
    "training": {"epochs": 1, "batch_size": 32},
}
CELLS = ("sasrec-softmax, noise 0%, seed 1", "sasrec-softmax, noise 20%, seed 1")
STEPS = {
    "validate log: tiny.shop log",
    "ingest: tiny.shop",
    "validate: tiny.shop",
    "corrupt: replace 20%",
    "validate: replace 20%",
    *(f"{step}: {cell}" for step in ("train", "detect", "evaluate") for cell in CELLS),
}
REGISTER = f"register: {CELLS[0]}"


@dataclass(frozen=True)
class Server:
    """A Prefect server with the project's deployments and a worker. `workplace` is the one of conftest.py."""

    workplace: Any
    url: str

    def ask(self, path: str, **body: Any) -> Any:
        """POST to the API where there is a body, else GET."""
        answer = httpx.post(self.url + path, json=body, timeout=30) if body else httpx.get(self.url + path, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def prefect(self, *arguments: str, status: int = 0) -> str:
        output: str = self.workplace.run("prefect", *arguments, folder=PROJECT_ROOT, status=status)
        return output

    def flow_runs(self, flow: str, state: str) -> list[dict[str, Any]]:
        """Flow runs of `flow` in the state type `state`, the latest first."""
        runs: list[dict[str, Any]] = self.ask(
            "/flow_runs/filter",
            flows={"name": {"any_": [flow]}},
            flow_runs={"state": {"type": {"any_": [state]}}},
            sort="START_TIME_DESC",
        )
        return runs

    def of_flow_run(self, what: str, flow_run: str) -> list[dict[str, Any]]:
        """The `task_runs` or `artifacts` of a flow run."""
        found: list[dict[str, Any]] = self.ask(f"/{what}/filter", flow_runs={"id": {"any_": [flow_run]}})
        return found

    def limits(self) -> dict[str, dict[str, Any]]:
        listed = self.ask("/v2/concurrency_limits/filter", limit=100)
        return {limit["name"]: limit for limit in listed}


@pytest.fixture(scope="module")
def server(workplace: Any, free_port: int) -> Iterator[Server]:
    address = f"http://127.0.0.1:{free_port}"
    interface = workplace.start("flows.cli", "ui", "prefect", "--port", str(free_port))
    workplace.wait_for_page(f"{address}/api/health", interface, within=400)
    assert httpx.get(address, timeout=30).status_code == 200
    workplace.environment["PREFECT_API_URL"] = f"{address}/api"
    deployed = workplace.run("flows.cli", "deploy")
    for flow in ("ingest", "recommend", "robustness"):
        assert f"{flow}/shoppers" in deployed
    worker = workplace.start("flows.cli", "worker")
    yield Server(workplace, f"{address}/api")
    worker.interrupt(within=60)
    interface.interrupt(within=60)


def test_the_pages_ask_the_server_that_they_come_from(server: Server) -> None:
    assert httpx.get(server.url.removesuffix("/api") + "/ui-settings", timeout=30).json()["api_url"] == server.url


def test_limits_and_pool_exist_before_the_first_run(server: Server) -> None:
    limits = server.limits()
    for name in ("rec-denoiser-cpu", "rec-denoiser-gpu"):
        assert limits[name]["active"]
        assert limits[name]["limit"] >= 1
    pool = server.ask("/work_pools/rec-denoiser")
    assert pool["type"] == "process"
    assert pool["concurrency_limit"] >= 1


def test_deploying_again_keeps_what_a_person_has_set(server: Server) -> None:
    server.prefect("global-concurrency-limit", "update", "rec-denoiser-gpu", "--limit", "7")
    server.workplace.run("flows.cli", "deploy")
    server.prefect("--no-prompt", "deploy", "--all")
    assert server.limits()["rec-denoiser-gpu"]["limit"] == 7
    assert server.ask("/deployments/count", deployments={"tags": {"all_": ["shoppers"]}}) == 5
    server.prefect("--no-prompt", "deploy", "flows/data.py:ingest", "--name", "gone", "--pool", "rec-denoiser")
    told = server.workplace.run("flows.cli", "deploy")
    server.prefect("deployment", "delete", "ingest/gone")
    assert "ingest/gone" not in told.splitlines()[0]
    assert ".venv/bin/prefect deployment delete ingest/gone" in told
    variables = server.ask("/deployments/name/robustness/shoppers")["job_variables"]
    assert variables["working_dir"] == str(PROJECT_ROOT)


def test_the_schedule_is_shown_and_makes_runs(server: Server, wait_until: Any) -> None:
    shown = server.prefect("deployment", "inspect", "robustness/shoppers")
    assert "0 2 * * *" in shown
    for flow in ("ingest", "robustness", "recommend"):
        runs = wait_until(lambda flow=flow: server.flow_runs(flow, "SCHEDULED"), within=300)
        assert all(run["auto_scheduled"] for run in runs), flow


def test_a_run_by_hand_completes_and_again_from_cache(server: Server) -> None:
    command = ("deployment", "run", "robustness/shoppers", "--watch", "--param", f"spec={json.dumps(SPEC)}")
    assert "Completed" in server.prefect(*command)
    first = server.flow_runs("robustness", "COMPLETED")[0]
    assert first["name"] == "tiny.shop: 1 method at noise 0%, 20%"
    assert task_states(server, first["id"]) == dict.fromkeys({*STEPS, REGISTER}, "Completed")
    the_artifacts_lead_on(server, first["id"])
    mlflow_holds_the_job(server, first["id"])

    assert "Completed" in server.prefect(*command)
    second = server.flow_runs("robustness", "COMPLETED")[0]
    assert second["id"] != first["id"]
    assert task_states(server, second["id"]) == dict.fromkeys(STEPS, "Cached") | {REGISTER: "Completed"}
    the_artifacts_lead_on(server, second["id"])
    mlflow_holds_the_job(server, first["id"])
    limits = server.limits()
    assert [limits[name]["active_slots"] for name in ("rec-denoiser-cpu", "rec-denoiser-gpu")] == [0, 0]


def test_a_study_by_hand_completes_and_leaves_its_table_and_its_run(server: Server) -> None:
    tiny = ["name=tiny", "base.source.shoppers={users: 60, items: 60}", "base.training.epochs=1", "axes.seed=[1]"]
    small = ["base.model.dim=8", "axes.noise.ratio=[0]", "axes.method=[sasrec-bce, sasrec-softmax]"]
    spec = json.dumps({"file": "studies/quick.yaml", "overrides": [*tiny, *small]})
    assert "Completed" in server.prefect("deployment", "run", "study/quick", "--watch", "--param", f"spec={spec}")
    (ran,) = server.flow_runs("study", "COMPLETED")
    assert ran["name"].startswith("study quick name=tiny")
    tasks = [run["name"] for run in server.of_flow_run("task_runs", ran["id"])]
    cells = ("sasrec-bce, noise 0%, seed 1", "sasrec-softmax, noise 0%, seed 1")
    assert {f"{step}: {cell}" for step in ("train", "evaluate") for cell in cells} <= set(tasks)
    artifacts = {artifact["key"]: artifact for artifact in server.of_flow_run("artifacts", ran["id"])}
    rows = json.loads(artifacts["study-tiny"]["data"])
    assert [(row["Method"], row["Verdict"] == "reference") for row in rows] == [
        ("sasrec-bce", True), ("sasrec-softmax", False),
    ]  # fmt: skip
    (parent,) = [run for run in mlflow_runs(server) if run.info.run_name == "tiny"]
    assert f"/runs/{parent.info.run_id}?" in artifacts["study-mlflow-tiny"]["data"]
    assert parent.data.tags[TAG_PREFECT] == ran["id"]
    assert (server.workplace.home.root / "studies" / "tiny" / "report.html").exists()


def task_states(server: Server, flow_run: str) -> dict[str, str]:
    """By task run its state, once all are known: the server hears of them by events, and of a flow run at once."""
    deadline = time.monotonic() + 60
    while True:
        states = {run["name"]: run["state_name"] for run in server.of_flow_run("task_runs", flow_run)}
        if (states.get(REGISTER) == "Completed" and {*STEPS} <= {*states}) or time.monotonic() > deadline:
            return states
        time.sleep(0.2)


def the_artifacts_lead_on(server: Server, flow_run: str) -> None:
    artifacts = {artifact["key"]: artifact for artifact in server.of_flow_run("artifacts", flow_run)}
    rows = json.loads(artifacts["comparison-tiny-shop"]["data"])
    assert [row["Noise"] for row in rows] == ["0%", "20%"]
    assert "sasrec-softmax" in artifacts["comparison-text-tiny-shop"]["data"]
    assert f"/runs/{parent_run(server).info.run_id}?" in artifacts["comparison-mlflow-tiny-shop"]["data"]
    docs = [artifact["data"] for key, artifact in artifacts.items() if key and key.startswith("data-docs-")]
    assert len(docs) == 3, "of the log and of both snapshots"
    assert all("index.html" in text and "expectations met" in text for text in docs)


def mlflow_holds_the_job(server: Server, flow_run: str) -> None:
    parent = parent_run(server)
    children = [run for run in mlflow_runs(server) if run.data.tags.get(TAG_PARENT) == parent.info.run_id]
    assert sorted(child.info.run_name for child in children) == sorted(CELLS)
    for run in (parent, *children):
        assert run.info.status == "FINISHED"
        assert run.data.tags[TAG_PREFECT] == flow_run


def parent_run(server: Server) -> Any:
    (parent,) = [
        run for run in mlflow_runs(server) if TAG_PARENT not in run.data.tags and run.data.tags["study"] == "robustness"
    ]
    return parent


def mlflow_runs(server: Server) -> list[Any]:
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{server.workplace.home.mlflow / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("robustness")
    return list(client.search_runs([experiment.experiment_id]))


def test_a_wrong_parameter_is_refused_before_it_runs(server: Server) -> None:
    spec = json.dumps({"noise": {"ratios": [1.5]}})
    server.prefect("deployment", "run", "robustness/shoppers", "--param", f"spec={spec}", status=1)
    assert server.flow_runs("robustness", "FAILED") == []


def test_a_log_that_is_not_there_fails_the_run_in_one_sentence(server: Server) -> None:
    spec = json.dumps({"dataset": "gone", "source": {"path": "no/such/log.csv"}})
    server.prefect("deployment", "run", "ingest/shoppers", "--watch", "--param", f"spec={spec}", status=1)
    (failed,) = server.flow_runs("ingest", "FAILED")
    assert failed["name"] == "ingest gone"
    assert "no/such/log.csv" in failed["state"]["message"]
