"""A study's page in a real browser: sorted by mouse and by keyboard, and shown in the README."""

from pathlib import Path

import pytest

from tests.tasks.pages import study_page
from tools.browser import Browser, missing
from tools.screenshots import VIEWS, take

pytestmark = [pytest.mark.slow, pytest.mark.skipif(missing() is not None, reason=missing() or "")]

COLUMN = """
    const table = document.getElementById("table-comparison");
    return [...table.tBodies[0].rows].map((row) => row.cells[arguments[0]].dataset.value);
"""
SORTED = """return document.querySelectorAll("#table-comparison th")[arguments[0]].getAttribute("aria-sort")"""
BUTTON = """document.querySelectorAll("#table-comparison th button")[arguments[0]]"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return study_page(tmp_path_factory.mktemp("report"))


def test_a_table_is_sorted_by_mouse_and_by_keyboard(opened: Browser) -> None:
    at = 4
    before = [float(value) for value in opened.run(COLUMN, at)]
    opened.run(f"{BUTTON}.click()", at)
    assert opened.run(SORTED, at) == "ascending"
    assert [float(value) for value in opened.run(COLUMN, at)] == sorted(before)
    opened.run(f"{BUTTON}.focus()", at)
    opened.press("Enter")
    assert opened.run(SORTED, at) == "descending"
    assert [float(value) for value in opened.run(COLUMN, at)] == sorted(before, reverse=True)
    opened.run(f"{BUTTON}.click()", 3)
    assert opened.run(SORTED, at) is None
    names = opened.run(COLUMN, 3)
    assert names == sorted(names)
    opened.run(f"{BUTTON}.click()", 5)
    gains = opened.run(COLUMN, 5)
    numbers = [float(value) for value in gains if value]
    assert gains[: len(numbers)] == [value for value in gains if value]  # what has no value comes last
    assert numbers == sorted(numbers)


def test_pictures_for_the_readme_are_small(window: Browser, page: Path, tmp_path: Path) -> None:
    pictures = take(window, page, tmp_path)
    assert len(pictures) == len(VIEWS)
    for picture in pictures:
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert picture.stat().st_size < 200_000
