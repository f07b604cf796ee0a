"""What every page that a person is given has to keep."""

from pathlib import Path

import pytest

from tests.tasks.pages import PAGES
from tests.tasks.reading import content_of, words_of


@pytest.mark.parametrize("name", PAGES)
def test_every_number_of_a_table_can_be_sorted_by(name: str, tmp_path: Path) -> None:
    numbers = content_of(PAGES[name](tmp_path)).findall(".//td[@class='number']")
    assert numbers
    assert [words_of(cell) for cell in numbers if cell.text != "–" and not cell.get("data-value")] == []
