"""Names for contents: digests that depend on what is said and never on how it is stored."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def spec_digest(spec: BaseModel | Mapping[str, Any]) -> str:
    """SHA-256 of a spec's canonical JSON, in hex."""
    return hashlib.sha256(canonical_json(spec).encode()).hexdigest()


def canonical_json(value: BaseModel | Mapping[str, Any]) -> str:
    """`value` as JSON with sorted keys and no spaces: equal values give equal text.

    Raises `ValueError` on NaN and infinities, which JSON lacks.
    """
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def table_digest(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> dict[str, str]:
    """SHA-256 of each column of a table whose rows come in their canonical order.

    How the rows are cut into batches makes no difference, nor what lies under a null; one
    batch is held at a time. The columns are integers or strings.

    Raises `TypeError` for a column of another type.
    """
    columns = [(field.name, _column_hasher(field)) for field in schema]
    for batch in batches:
        for index, (_, hasher) in enumerate(columns):
            hasher.update(batch.column(index))
    return {name: hasher.hexdigest() for name, hasher in columns}


def snapshot_digest(tables: Mapping[str, Mapping[str, str]], facts: Mapping[str, Any]) -> str:
    """SHA-256 over the column digests of several tables and the facts that say how to read them.

    `tables` maps a table's name to what `table_digest` gave for it.
    """
    return spec_digest({"tables": {name: dict(columns) for name, columns in tables.items()}, "facts": dict(facts)})


def _column_hasher(field: pa.Field) -> "_IntegerHasher | _StringHasher":
    if pa.types.is_signed_integer(field.type):
        return _IntegerHasher(field.type)
    if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
        return _StringHasher()
    raise TypeError(f"column {field.name} has type {field.type}, which has no digest")


class _IntegerHasher:
    """Little-endian values, nulls as zero, and a validity byte a row."""

    def __init__(self, arrow_type: pa.DataType) -> None:
        self._type = arrow_type
        self._values = hashlib.sha256()
        self._valid = hashlib.sha256()

    def update(self, array: pa.Array) -> None:
        values = array.fill_null(0) if array.null_count else array
        numbers = values.to_numpy(zero_copy_only=False)
        self._values.update(np.ascontiguousarray(numbers, dtype=numbers.dtype.newbyteorder("<")).data)
        self._valid.update(_validity(array).data)

    def hexdigest(self) -> str:
        return _joined(str(self._type), self._values, self._valid)


class _StringHasher:
    """UTF-8 data, little-endian 32-bit lengths in bytes, and a validity byte a row."""

    def __init__(self) -> None:
        self._data = hashlib.sha256()
        self._lengths = hashlib.sha256()
        self._valid = hashlib.sha256()

    def update(self, array: pa.Array) -> None:
        # What lies under a null is undefined in Arrow, its length included.
        text = (array.fill_null("") if array.null_count else array).cast(pa.large_string())
        offsets = np.frombuffer(text.buffers()[1], dtype=np.int64)[text.offset : text.offset + len(text) + 1]
        data = text.buffers()[2]
        if data is not None and len(text):
            self._data.update(memoryview(data)[int(offsets[0]) : int(offsets[-1])])
        self._lengths.update(np.diff(offsets).astype("<i4").data)
        self._valid.update(_validity(array).data)

    def hexdigest(self) -> str:
        return _joined("string", self._data, self._lengths, self._valid)


def _validity(array: pa.Array) -> np.ndarray[Any, np.dtype[np.uint8]]:
    if not array.null_count:
        return np.ones(len(array), dtype=np.uint8)
    return np.asarray(pc.is_valid(array).to_numpy(zero_copy_only=False), dtype=np.uint8)


def _joined(kind: str, *streams: "hashlib._Hash") -> str:
    return hashlib.sha256("\n".join([kind, *(stream.hexdigest() for stream in streams)]).encode()).hexdigest()
