"""What a flow run leaves to be looked at in Prefect's user interface."""

import re
from collections.abc import Iterable, Mapping, Sequence

from prefect.artifacts import create_link_artifact, create_table_artifact

from tasks.job import Job
from tasks.reporting.grid import Grid, records


def artifact_key(kind: str, dataset: str) -> str:
    """An artifact's key: each data set has a history of its own. Prefect wants small letters, digits and dashes."""
    return f"{kind}-{re.sub('[._]', '-', dataset)}"


def show_grids(grids: Iterable[Grid], *, kind: str, name: str) -> None:
    """A report's tables, each as an artifact with a history of its own; kind and name: as of `show_table`."""
    for grid in grids:
        key = artifact_key(f"{kind}-{grid.name}", name)
        create_table_artifact(table=records(grid), key=key, description=grid.caption)


def show_table(job: Job, rows: Sequence[Mapping[str, str]], *, kind: str, name: str, description: str) -> None:
    """What came of a job as a table, and a link to the job in MLflow; kind: the job's, as "study"; name: its own."""
    create_table_artifact(table=[dict(row) for row in rows], key=artifact_key(kind, name), description=description)
    create_link_artifact(
        link=job.tracker.run_url(job.parent),
        link_text="This job in MLflow",
        key=artifact_key(f"{kind}-mlflow", name),
        description="Opens once `.venv/bin/rec-denoiser ui mlflow` runs.",
    )
