"""Text files as they lie on disk: compressed or not, with their first lines.

Text is UTF-8, with or without a byte-order mark.
"""

import gzip
import io
import itertools
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal, cast

import pyarrow as pa

from tasks.errors import InputError
from tasks.sources.formats import Beginning

Compression = Literal["uncompressed", "gzip", "zstd"]

_COMPRESSIONS: dict[str, Compression] = {".gz": "gzip", ".zst": "zstd"}
_CHUNK = 1 << 20
_LONGEST_LINE = 1 << 22
_BEGINNING = 100


def compression_of(path: Path) -> Compression:
    """How the file is compressed, by the ending of its name."""
    return _COMPRESSIONS.get(path.suffix.lower(), "uncompressed")


def kind_of(path: Path) -> str:
    """The ending of the file's name that says what is in it: `.csv` of `log.csv.gz`; "" where there is none."""
    inner = path.with_suffix("") if compression_of(path) != "uncompressed" else path
    return inner.suffix.lower()


def beginning_of(path: Path) -> Beginning:
    """The file's name and its first lines, `_BEGINNING` at most; bytes that are no UTF-8 are replaced.

    Raises `InputError` where the compression is broken.
    """
    name = path.name.lower()
    for ending, compression in _COMPRESSIONS.items():
        if compression == compression_of(path):
            name = name.removesuffix(ending)
    with open_bytes(path) as file:
        texts = [file.readline(_LONGEST_LINE).decode("utf-8-sig", errors="replace") for _ in range(_BEGINNING)]
    return Beginning(name, tuple(text.rstrip("\r\n") for text in texts if text.strip()))


def first_line(path: Path) -> str:
    """The first line. Raises `InputError` where there is none, it holds nothing, or it is not UTF-8."""
    with open_bytes(path) as file:
        line = file.readline(_LONGEST_LINE)
    if not line:
        raise InputError(f"{path} is empty: its first line holds nothing")
    text = decoded(path, line, number=1)
    if not text.strip():
        raise InputError(f"{path}, line 1: a blank line where the names of the columns belong, delete it")
    return text


def numbered_lines(path: Path, *, most: int | None = None) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers from 1, of the first `most`.

    Raises `InputError` where the compression is broken or a line is not UTF-8.
    """
    with open_bytes(path) as file:
        for number, line in enumerate(itertools.islice(file, most), start=1):
            if line.strip():
                yield number, decoded(path, line, number=number)


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, unpacked. Raises `InputError` where what is read of them is cut short or damaged."""
    compression = compression_of(path)
    try:
        if compression == "gzip":
            with gzip.open(path) as file:
                yield cast(IO[bytes], file)
        elif compression == "zstd":
            # pyarrow's streams read no lines; Python's own buffer over them does.
            with pa.input_stream(str(path), compression="zstd") as stream:
                yield _lines_of(stream)
        else:
            with path.open("rb") as plain:
                yield plain
    except (EOFError, zlib.error, gzip.BadGzipFile, pa.ArrowInvalid) as error:
        raise _broken(path, compression, error) from None
    except OSError as error:
        if compression == "uncompressed" or error.errno is not None:
            raise InputError(f"{path} cannot be read: {error.strerror}") from None
        raise _broken(path, compression, error) from None


def refuse_broken_compression(path: Path) -> None:
    """Raise `InputError` where a compressed file is cut short or damaged.

    Readers that stop at what they could unpack would take the rest for the whole.
    """
    if compression_of(path) != "uncompressed":
        with open_bytes(path) as file:
            while file.read(_CHUNK):
                pass


def decoded(path: Path, line: bytes, *, number: int) -> str:
    """A line as text, without its end and a byte-order mark. Raises `InputError` where it is not UTF-8."""
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise InputError(f"{path}, line {number}: not UTF-8 text, save the file as UTF-8") from None


def _lines_of(stream: pa.NativeFile) -> IO[bytes]:
    return cast(IO[bytes], io.BufferedReader(stream, buffer_size=_CHUNK))


def _broken(path: Path, compression: Compression, error: Exception) -> InputError:
    return InputError(f"{path} is not a whole {compression} file (cut short or damaged): {error}")
