"""What a page shows, read back from its HTML."""

import xml.etree.ElementTree as ET
from pathlib import Path


def content_of(page: Path) -> ET.Element:
    """A page from its heading to its last section; but for one attribute without a value, that is well-formed XML."""
    text = page.read_text(encoding="utf-8")
    shown = text[text.index("<header>") : text.index("</main>") + len("</main>")]
    return ET.fromstring(f"<body>{shown}</body>".replace(" hidden>", ' hidden="">', 1))


def text_of(page: Path) -> str:
    """A page's own text, its marks of structure too, with plain spaces within figures."""
    return page.read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")


def words_of(element: ET.Element) -> str:
    """The text in an element, with a single space where there is any."""
    return " ".join(" ".join(element.itertext()).split())


def cells_of(content: ET.Element, table: str) -> list[dict[str, ET.Element]]:
    """The rows of the table of a name, by heading."""
    found = content.find(f".//table[@id='table-{table}']")
    assert found is not None, table
    headings = [words_of(heading) for heading in found.iter("th")]
    return [dict(zip(headings, row, strict=True)) for row in found.iterfind("tbody/tr")]


def rows_of(content: ET.Element, table: str) -> list[dict[str, str]]:
    """The rows of the table of a name as text, by heading."""
    return [{heading: words_of(cell) for heading, cell in row.items()} for row in cells_of(content, table)]
