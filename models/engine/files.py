"""Files that are whole or not there at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file that takes its place at `path` when the block has ended and its content is on the disk: neither a reader
    nor what comes after a killed process, or a power cut, ever meets half of it.
    """
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def save_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write named arrays as one `.npz` file, whole, that `numpy.load` reads without unpickling."""
    with written_whole(path) as file:
        np.savez(file, allow_pickle=False, **arrays)
