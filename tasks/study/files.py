"""Where studies lie: a file of a person's own, or one of those that come with the project."""

import difflib
from pathlib import Path

from tasks.errors import InputError
from tasks.home import PROJECT_ROOT
from tasks.specs import StudyRequest
from tasks.study.expand import Study, read_study


def shipped() -> list[Path]:
    """The files of the studies that come with the project."""
    return sorted((PROJECT_ROOT / "studies").glob("*.yaml"))


def study_file(request: StudyRequest) -> Study:
    """The study that is asked for. Raises `InputError` as `tasks.study.expand.read_study` does."""
    return read_study(located(request.file), request.overrides)


def located(name: str) -> Path:
    """The file at a path, or else the shipped study of that name.

    Raises `InputError`, with the nearest shipped one, where there is neither.
    """
    path = Path(name).expanduser()
    if path.exists():
        return path
    by_name = {file.stem: file for file in shipped()}
    asked = name.removeprefix("studies/").removesuffix(".yaml")
    if asked in by_name:
        return by_name[asked]
    close = difflib.get_close_matches(asked, by_name, n=1)
    meant = f": did you mean {close[0]}?" if close else " (`rec-denoiser study` lists those that come with the project)"
    raise InputError(f"there is no study {name}{meant}")
