"""A study's page in a real browser: sorted by mouse and by keyboard, in both themes, on a telephone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.reporting.analysis import analysed
from tasks.reporting.page import write_report
from tests.tasks.study_results import METHODS, detection, study
from tools.browser import Browser, browser, missing
from tools.screenshots import VIEWS, take

pytestmark = [pytest.mark.slow, pytest.mark.skipif(missing() is not None, reason=missing() or "")]

PHONE = 390
COLUMN = """
    const table = document.getElementById("table-comparison");
    return [...table.tBodies[0].rows].map((row) => row.cells[arguments[0]].dataset.value);
"""
SORTED = """return document.querySelectorAll("#table-comparison th")[arguments[0]].getAttribute("aria-sort")"""
BUTTON = """document.querySelectorAll("#table-comparison th button")[arguments[0]]"""
PAPER = "return getComputedStyle(document.body).backgroundColor"
STROKE = "return getComputedStyle(document.querySelector('.chart .line.s1')).stroke"
WIDE = """
    return [...document.querySelectorAll("body *")]
        .filter((one) => !one.closest(".scroll, pre, .hidden, .skip, svg"))
        .filter((one) => one.getBoundingClientRect().right > innerWidth + 0.5)
        .map((one) => `${one.tagName}.${one.className}`);
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    result, ranks = study(
        methods=(*METHODS, "oracle"),
        kinds=("replace", "popular"),
        oracle="oracle",
        detection=(detection("better", 0.25, strength=1.9), detection("equal", 0.25, strength=0.0)),
    )
    return write_report(analysed(result, ranks, resamples=200), None, tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture
def opened(window: Browser, page: Path) -> Browser:
    """The page, on a desk, light, with nothing remembered and nothing complained of."""
    window.prefer("light")
    window.size(1200, 900)
    window.open(page)
    window.run("localStorage.clear()")
    window.logged()
    window.open(page)
    return window


def test_the_page_opens_without_a_complaint_or_a_request(opened: Browser) -> None:
    assert opened.logged() == []
    assert opened.run("return performance.getEntriesByType('resource').length") == 0
    assert opened.run("return document.querySelectorAll('svg.chart').length") > 10


def test_a_table_is_sorted_by_mouse_and_by_keyboard(opened: Browser) -> None:
    at = 2
    before = [float(value) for value in opened.run(COLUMN, at)]
    opened.run(f"{BUTTON}.click()", at)
    assert opened.run(SORTED, at) == "ascending"
    assert [float(value) for value in opened.run(COLUMN, at)] == sorted(before)
    opened.run(f"{BUTTON}.focus()", at)
    opened.press("\ue007")  # Enter
    assert opened.run(SORTED, at) == "descending"
    assert [float(value) for value in opened.run(COLUMN, at)] == sorted(before, reverse=True)
    opened.run(f"{BUTTON}.click()", 1)
    assert opened.run(SORTED, at) is None
    names = opened.run(COLUMN, 1)
    assert names == sorted(names)
    opened.run(f"{BUTTON}.click()", 3)
    gains = opened.run(COLUMN, 3)
    numbers = [float(value) for value in gains if value]
    assert gains[: len(numbers)] == [value for value in gains if value]  # what has no value comes last
    assert numbers == sorted(numbers)


def test_both_themes_and_the_choice_is_remembered(opened: Browser, page: Path) -> None:
    light, stroke = opened.run(PAPER), opened.run(STROKE)
    opened.prefer("dark")
    dark = opened.run(PAPER)
    assert dark != light
    assert opened.run(STROKE) != stroke
    opened.run("document.getElementById('theme').click()")
    assert opened.run(PAPER) == light
    opened.open(page)
    assert opened.run(PAPER) == light
    opened.run("document.getElementById('theme').click()")
    assert opened.run(PAPER) == dark
    opened.prefer("light")
    assert opened.run(PAPER) == dark


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_told_from_its_ground(opened: Browser, scheme: str) -> None:
    opened.prefer(scheme)
    for selector in ("body", ".question", "small", ".up", ".down, .level", "a", ".files"):
        ratio = opened.run(CONTRAST, selector)
        assert ratio >= 4.5, selector


CONTRAST = """
    const light = (colour) => {
        const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => {
            const share = part / 255;
            return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ink = light(getComputedStyle(document.querySelector(arguments[0])).color);
    const paper = light(getComputedStyle(document.body).backgroundColor);
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
"""


def test_a_telephone_shows_it_without_scrolling_sideways(opened: Browser, page: Path) -> None:
    opened.size(PHONE, 800)
    opened.open(page)
    assert opened.run("return document.documentElement.scrollWidth") == PHONE
    assert opened.run(WIDE) == []
    smallest = """
        return Math.min(...[...document.querySelectorAll(".chart text")].map((text) => {
            const chart = text.ownerSVGElement;
            const scale = chart.getBoundingClientRect().width / chart.viewBox.baseVal.width;
            return parseFloat(getComputedStyle(text).fontSize) * scale;
        }))
    """
    assert opened.run(smallest) >= 9.5


def test_labels_of_a_chart_do_not_overlap_or_leave_it(opened: Browser) -> None:
    overlapping = """
        const crossing = [];
        for (const chart of document.querySelectorAll("svg.chart")) {
            const frame = chart.getBoundingClientRect();
            const boxes = [...chart.querySelectorAll("text")].map((text) => [text, text.getBoundingClientRect()]);
            boxes.forEach(([text, box], number) => {
                const outside = box.left < frame.left - 3 || box.right > frame.right + 3;
                if (outside) crossing.push(`leaves: ${text.textContent}`);
                for (const [other, its] of boxes.slice(number + 1)) {
                    const across = Math.min(box.right, its.right) - Math.max(box.left, its.left);
                    const down = Math.min(box.bottom, its.bottom) - Math.max(box.top, its.top);
                    if (across > 1 && down > 4) crossing.push(`${text.textContent} | ${other.textContent}`);
                }
            });
        }
        return crossing;
    """
    assert opened.run(overlapping) == []
    opened.size(PHONE, 800)
    assert opened.run(overlapping) == []


def test_pictures_for_the_readme_are_small(window: Browser, page: Path, tmp_path: Path) -> None:
    pictures = take(window, page, tmp_path)
    assert len(pictures) == len(VIEWS)
    for picture in pictures:
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert picture.stat().st_size < 200_000
