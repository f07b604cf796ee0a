"""Score users with the registered champion: by hand for one history, on a schedule for a whole log."""

from typing import Any

from prefect import flow, runtime
from prefect.artifacts import create_markdown_artifact

from flows.artifacts import artifact_key
from flows.data import checked_snapshot
from flows.server import leased
from tasks.home import Home
from tasks.side_by_side import Steps
from tasks.specs import RecommendSpec
from tasks.steps import recommend_one_step, recommend_step


def _run_name() -> str:
    spec = RecommendSpec.model_validate(runtime.flow_run.parameters["spec"])
    return f"recommend to {'one user' if spec.history is not None else 'all users'} of {spec.dataset}"


@flow(name="recommend", flow_run_name=_run_name)
def recommend(spec: RecommendSpec = RecommendSpec()) -> dict[str, Any]:
    """What the registered model offers: to one history, or as a Parquet file to every user of a log."""
    home = Home.from_environment()
    with leased(home):
        if spec.history is not None:
            return recommend_one_step(spec, label=spec.dataset)
        snapshot = checked_snapshot(spec.source, spec.prepare, dataset=spec.dataset, steps=Steps(home), home=home)
        outcome = recommend_step(spec, snapshot, label=spec.dataset)
        scored = f"{outcome['users']:,} users scored by {outcome['model']}: `{outcome['path']}`"
        create_markdown_artifact(
            "\n\n".join([scored, *outcome["unknown_in_lists"]]), key=artifact_key("recommendations", spec.dataset)
        )
        return outcome
