"""A digest depends on what a table says and on nothing else."""

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.data_specs import CorruptSpec
from tasks.digests import file_digest, spec_digest, table_digest

Rows = list[tuple[int | None, str | None]]

cells = st.tuples(
    st.none() | st.integers(-(2**31), 2**31 - 1),
    st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
)
tables = st.lists(cells, max_size=12)


def digest(rows: Rows, cuts: list[int] | None = None) -> dict[str, str]:
    """The digest of `rows` cut into batches of the lengths in `cuts` (then one of the rest)."""
    schema = pa.schema([("number", pa.int32()), ("text", pa.string())])
    whole = pa.table(
        {"number": [number for number, _ in rows], "text": [text for _, text in rows]}, schema=schema
    ).combine_chunks()
    batches, start = [], 0
    for length in [*(cuts or []), len(rows)]:
        batches += whole.slice(start, length).to_batches()
        start += length
    return table_digest(schema, batches)


@settings(deadline=None)
@given(tables, st.lists(st.integers(0, 5), max_size=6))
def test_cutting_into_batches_changes_nothing(rows: Rows, cuts: list[int]) -> None:
    assert digest(rows, cuts) == digest(rows)


@settings(deadline=None)
@given(tables, tables)
def test_other_rows_have_another_digest(left: Rows, right: Rows) -> None:
    assert (digest(left) == digest(right)) == (left == right)


@settings(deadline=None)
@given(tables.filter(bool), st.data())
def test_any_changed_cell_changes_its_columns_digest_alone(rows: Rows, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(rows) - 1))
    number, _ = data.draw(cells.filter(lambda cell: cell[0] != rows[index][0]))
    changed = [*rows[:index], (number, rows[index][1]), *rows[index + 1 :]]
    assert digest(changed)["number"] != digest(rows)["number"]
    assert digest(changed)["text"] == digest(rows)["text"]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ([(0, "")], [(None, "")]),
        ([(0, "")], [(0, None)]),
        ([(0, "ab"), (0, "c")], [(0, "a"), (0, "bc")]),
        ([], [(None, None)]),
    ],
)
def test_near_misses_are_told_apart(left: Rows, right: Rows) -> None:
    assert digest(left) != digest(right)


def test_what_lies_under_a_null_makes_no_difference() -> None:
    schema = pa.schema([("number", pa.int32())])
    validity = pa.py_buffer(b"\x01")
    arrays = [
        pa.Array.from_buffers(pa.int32(), 2, [validity, pa.py_buffer(bytes([1, 0, 0, 0, hidden, 0, 0, 0]))])
        for hidden in (0, 9)
    ]
    digests = [table_digest(schema, [pa.record_batch([array], schema=schema)]) for array in arrays]
    assert digests[0] == digests[1]


def test_a_column_without_a_digest_is_refused() -> None:
    with pytest.raises(TypeError, match="column x has type double"):
        table_digest(pa.schema([("x", pa.float64())]), [])


def test_a_specs_digest_ignores_the_order_of_keys_and_sees_every_value() -> None:
    plain: dict[str, Any] = {"seed": 1, "ratio": 0.2, "kind": "replace", "taken_out": False}
    assert spec_digest(CorruptSpec(ratio=0.2, seed=1)) == spec_digest(plain)
    assert spec_digest(CorruptSpec(ratio=0.2, seed=2)) != spec_digest(plain)
    with pytest.raises(ValueError, match="JSON"):
        spec_digest({"ratio": float("nan")})


def test_a_files_digest_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert file_digest(tmp_path / "file") == hashlib.sha256(b"abc").hexdigest()
