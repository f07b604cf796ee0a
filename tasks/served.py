"""The files of a registered model, read by this version of the project."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING

from tasks.errors import InputError
from tasks.home import Home
from tasks.mlflow_store import unreadable

if TYPE_CHECKING:
    from models.serving import Server

UNREADABLE = (AttributeError, EOFError, ImportError, LookupError, RuntimeError, TypeError, UnpicklingError, ValueError)
"""What comes of files that another version saved, or that are damaged."""


class Unservable(InputError):
    """A registered model's files are gone, or cannot be made a model of by this version."""


@dataclass(frozen=True)
class Served:
    """A registered model that can be asked, the folder of its files, and the digest of what it was trained on."""

    server: "Server"
    files: Path
    snapshot: str


def served(name: str, version: str, *, home: Home) -> Served:
    """A version that the registry has. Raises `Unservable` where it cannot be asked any more, `InputError` where MLflow
    cannot be read.
    """
    import mlflow
    from mlflow.models import Model

    title = f"{name} version {version}"
    with reading_files(name, version, home=home):
        folder = Path(mlflow.artifacts.download_artifacts(f"models:/{name}/{version}"))
        logged = Model.load(str(folder))
    try:
        files = folder / logged.flavors["python_function"]["artifacts"]["model"]["path"]
        snapshot = str((logged.metadata or {})["snapshot"])
    except KeyError:
        raise Unservable(
            f"{title} was not registered by this project: it says of no data what it was made of"
        ) from None
    from models.serving import Server

    server = Server()
    with read_by_this_version(title):
        server.load(files)
    return Served(server, files, snapshot)


@contextmanager
def reading_files(name: str, version: str, *, home: Home) -> Iterator[None]:
    """Read the files of a version that the registry has. Raises `Unservable` where they are gone, `InputError` where
    MLflow cannot be read.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise unreadable(error, home) from None
        raise Unservable(
            f"the files of {name} version {version} are gone: bring them back, or delete that version in MLflow and "
            "run its job again, which registers it anew"
        ) from None


@contextmanager
def read_by_this_version(title: str) -> Iterator[None]:
    """Make a model of its files. Raises `Unservable` where one is missing, or another version saved them."""
    try:
        yield
    except FileNotFoundError as error:
        raise Unservable(f"{title} has lost a file: {error.filename}") from None
    except OSError as error:
        if error.errno != errno.EINVAL:  # which torch says of a file that was cut short; any other may pass
            raise
        raise Unservable(f"{title} has a damaged file; train it again") from None
    except UNREADABLE as error:
        told = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise Unservable(f"{title} was saved by another version of this project: {told}; train it again") from None
