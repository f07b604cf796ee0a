"""A run's model offered to the registry as a flow, a study's for one: by the rule that every model is held to."""

from typing import Any

from prefect import flow, runtime

from flows.cells import offered
from flows.server import ensure_limits, leased
from tasks.home import Home
from tasks.kept import kept_cell
from tasks.rerun import execution_like
from tasks.runs import SHOWN, check_ranked, read_run
from tasks.side_by_side import Steps
from tasks.specs import RegisterSpec
from tasks.track import Tracker


def _run_name() -> str:
    return f"register {RegisterSpec.model_validate(runtime.flow_run.parameters['spec']).run[:SHOWN]}"


@flow(name="register", flow_run_name=_run_name)
def register(spec: RegisterSpec) -> dict[str, Any]:
    """Find what a run trained, rank it with histories without injected noise, and register it as champion or challenger
    of its data set.
    """
    home = Home.from_environment()
    ensure_limits()
    with leased(home):
        run = read_run(spec.run, home=home)
        check_ranked(run)
        cell = kept_cell(run, home=home)
        execution = execution_like(run.provenance)
        registered = offered(
            cell,
            run.chosen,
            execution,
            Steps(home),
            tracker=Tracker(home),
            run_id=run.run_id,
            offered_by="person",
        )
    return {"run": run.run_id, "label": cell.label} | registered.to_dict()
