"""Paths that a person names."""

from pathlib import Path

from tasks.errors import InputError


def path_named(text: str, *, by: str = "") -> Path:
    """The path, with `~` and `~user` as a shell has them. Raises `InputError` where nothing can be there, with the
    option or variable `by` which it was named.
    """
    said = f"{by}: {text}" if by else text
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise InputError(f"{said} begins with a person's home folder, and this machine knows of none") from None
    try:
        path.exists()
    except OSError as error:
        raise InputError(f"{said} cannot be read: {error.strerror}") from None
    return path
