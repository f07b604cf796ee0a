"""Where studies and searches lie: a file of a person's own, or one of those that come with the project."""

import difflib
from pathlib import Path

from tasks.errors import InputError
from tasks.home import PROJECT_ROOT
from tasks.paths import path_named
from tasks.specs import StudyRequest
from tasks.study.document import STUDY, Form
from tasks.study.expand import Study, read_study

SEARCH = "tune-"
"""What the names of the files of searches begin with."""


def shipped() -> list[Path]:
    """The files of the studies that come with the project."""
    return [path for path in _files() if not path.name.startswith(SEARCH)]


def shipped_searches() -> list[Path]:
    """The files of the searches that come with the project."""
    return [path for path in _files() if path.name.startswith(SEARCH)]


def study_file(request: StudyRequest) -> Study:
    """The study that is asked for. Raises `InputError` as `tasks.study.expand.read_study` does."""
    return read_study(located(request.file), request.overrides)


def located(name: str, *, form: Form = STUDY) -> Path:
    """The file at a path, or else the shipped study or search of that name.

    Raises `InputError`, with the nearest shipped one, where there is neither, and where no file can have that path.
    """
    path = path_named(name)
    if path.is_file():
        return path
    by_name = {file.stem: file for file in (shipped() if form == STUDY else shipped_searches())}
    asked = name.removeprefix("studies/").removesuffix(".yaml")
    if asked in by_name:
        return by_name[asked]
    close = difflib.get_close_matches(asked, by_name, n=1)
    listed = f" (`rec-denoiser {form.command}` lists those that come with the project)"
    raise InputError(f"there is no {form.what} {name}{f': did you mean {close[0]}?' if close else listed}")


def _files() -> list[Path]:
    return sorted((PROJECT_ROOT / "studies").glob("*.yaml"))
