"""Where state lives: one folder, which may be deleted for a full reset."""

import os
from dataclasses import dataclass
from pathlib import Path

from tasks.paths import path_named

PROJECT_ROOT = Path(__file__).resolve().parents[1]
HOME_VARIABLE = "REC_DENOISER_HOME"


@dataclass(frozen=True)
class Home:
    """The folders under the state folder. Nothing is created until something is written."""

    root: Path

    @classmethod
    def from_environment(cls) -> "Home":
        """`REC_DENOISER_HOME` where it is set, else `var/` beside `prefect.yaml`. Raises `InputError` where nothing can
        be there.
        """
        configured = os.environ.get(HOME_VARIABLE)
        return cls(path_named(configured, by=HOME_VARIABLE).resolve() if configured else PROJECT_ROOT / "var")

    @property
    def sources(self) -> Path:
        """Logs that the project made itself (the generated shoppers), and those fetched from elsewhere."""
        return self.root / "sources"

    @property
    def snapshots(self) -> Path:
        """Immutable snapshots, one folder each, named by their digest."""
        return self.root / "snapshots"

    @property
    def steps(self) -> Path:
        """Outputs of trainings and rankings, one folder a step key."""
        return self.root / "steps"

    @property
    def docs(self) -> Path:
        """Great Expectations Data Docs."""
        return self.root / "docs"

    @property
    def recommendations(self) -> Path:
        """Scored users, one folder a model version and snapshot."""
        return self.root / "recommendations"

    @property
    def audits(self) -> Path:
        """Audits, one folder a data set."""
        return self.root / "audits"

    @property
    def mlflow(self) -> Path:
        """MLflow's database and artifacts."""
        return self.root / "mlflow"

    @property
    def prefect(self) -> Path:
        """Prefect's database and persisted results."""
        return self.root / "prefect"

    @property
    def leases(self) -> Path:
        """Lock files that say which process works on what."""
        return self.root / "leases"
