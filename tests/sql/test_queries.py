"""Every query is documented and used."""

import re
from pathlib import Path

import pytest

import sql
from tasks.home import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "sql"
QUERIES = sorted(FOLDER.rglob("*.sql"))
CODE = "\n".join(path.read_text(encoding="utf-8") for path in (PROJECT_ROOT / "tasks").rglob("*.py"))


@pytest.mark.parametrize("path", QUERIES, ids=lambda path: path.stem)
def test_a_query_says_what_comes_in_and_what_goes_out_and_is_used(path: Path) -> None:
    comment = re.match(r"(--.*\n)+", path.read_text(encoding="utf-8"))
    assert comment, "no opening comment"
    assert "In:" in comment[0]
    assert "Out:" in comment[0]
    name = path.relative_to(FOLDER).with_suffix("").as_posix()
    assert f'"{name}"' in CODE, "no task loads it"


def test_names_and_texts_are_quoted() -> None:
    assert sql.quoted('a "b"') == '"a ""b"""'
    assert sql.literal("it's") == "'it''s'"


def test_an_unfilled_slot_is_refused() -> None:
    with pytest.raises(KeyError):
        sql.load("register/catalogue", items="'x'")
