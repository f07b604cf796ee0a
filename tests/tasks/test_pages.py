"""What every page that a person is given has to keep."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.tasks.pages import PAGES
from tests.tasks.reading import content_of, words_of


@pytest.fixture(params=list(PAGES))
def content(request: pytest.FixtureRequest, tmp_path: Path) -> ET.Element:
    return content_of(PAGES[request.param](tmp_path))


def test_every_number_of_a_table_can_be_sorted_by(content: ET.Element) -> None:
    numbers = numbers_of(content)
    assert numbers
    assert [words_of(cell) for cell in numbers if cell.text != "–" and not cell.get("data-value")] == []


def test_thousands_are_told_apart_in_one_way(content: ET.Element) -> None:
    told = [words_of(cell) for cell in numbers_of(content)] + [words_of(label) for label in content.iter("text")]
    assert [words for words in told if re.search(r"(?<![\d.,])\d{4}", words)] == []
    assert "\N{NARROW NO-BREAK SPACE}" not in "".join(content.itertext())


def numbers_of(content: ET.Element) -> list[ET.Element]:
    return [cell for cell in content.iter("td") if "number" in cell.get("class", "").split()]
