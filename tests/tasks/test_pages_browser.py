"""Every page in a real browser: without a complaint or a request, in both themes, on a telephone."""

from pathlib import Path

import pytest

from tests.tasks.pages import PAGES
from tools.browser import Browser, missing

pytestmark = [pytest.mark.slow, pytest.mark.skipif(missing() is not None, reason=missing() or "")]

PHONE = 390
CHARTS = {"study": 11, "tuning": 5, "explanation": 11, "audit": 1}
WRITTEN = ("body", ".question", "a", ".files", ".caption", "th", ".chart text")
WRITTEN_ON = {"study": ("small", ".up", ".level"), "tuning": ("small",)}
"""What has a colour of its own and is on every page, and what is on some."""
PAPER = "return getComputedStyle(document.body).backgroundColor"
DRAWN = """
    return [...document.querySelectorAll(".chart *")]
        .map((mark) => [getComputedStyle(mark).stroke, getComputedStyle(mark).fill].join());
"""
WIDE = """
    return [...document.querySelectorAll("body *")]
        .filter((one) => !one.closest(".scroll, pre, .hidden, .skip, svg"))
        .filter((one) => one.getBoundingClientRect().right > innerWidth + 0.5)
        .map((one) => `${one.tagName}.${one.className}`);
"""


@pytest.fixture(scope="module", params=list(PAGES))
def named(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    name: str = request.param
    return name, PAGES[name](tmp_path_factory.mktemp(name))


@pytest.fixture
def page(named: tuple[str, Path]) -> Path:
    return named[1]


def test_it_opens_without_a_complaint_or_a_request(opened: Browser, named: tuple[str, Path]) -> None:
    assert opened.logged() == []
    assert opened.run("return performance.getEntriesByType('resource').length") == 0
    assert opened.run("return document.querySelectorAll('svg.chart').length") >= CHARTS[named[0]]


def test_both_themes_and_the_choice_is_remembered(opened: Browser, page: Path) -> None:
    light, drawn = opened.run(PAPER), opened.run(DRAWN)
    opened.prefer("dark")
    dark = opened.run(PAPER)
    assert dark != light
    assert opened.run(DRAWN) != drawn
    opened.run("document.getElementById('theme').click()")
    assert opened.run(PAPER) == light
    opened.reopen(page)
    assert opened.run(PAPER) == light
    opened.run("document.getElementById('theme').click()")
    assert opened.run(PAPER) == dark
    opened.prefer("light")
    assert opened.run(PAPER) == dark


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_told_from_its_ground(opened: Browser, named: tuple[str, Path], scheme: str) -> None:
    opened.prefer(scheme)
    for selector in (*WRITTEN, *WRITTEN_ON.get(named[0], ())):
        contrasts = opened.run(CONTRAST, selector)
        assert contrasts, f"there is no {selector}"
        assert min(contrasts) >= 4.5, selector


CONTRAST = """
    const light = (colour) => {
        const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => {
            const share = part / 255;
            return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const paper = light(getComputedStyle(document.body).backgroundColor);
    return [...document.querySelectorAll(arguments[0])].map((one) => {
        const style = getComputedStyle(one);
        const ink = light(one instanceof SVGElement ? style.fill : style.color);
        return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    });
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
    assert opened.run("return Math.max(...[...document.querySelectorAll('tr')].map((row) => row.offsetHeight))") <= 110


def test_labels_of_a_chart_do_not_overlap_or_leave_it(opened: Browser) -> None:
    overlapping = """
        const crossing = [];
        for (const chart of document.querySelectorAll("svg.chart")) {
            const frame = chart.getBoundingClientRect();
            const slack = chart.closest(".scroll") ? 0.5 : 3;  // a box that scrolls cuts off what leaves it
            const boxes = [...chart.querySelectorAll("text")].map((text) => [text, text.getBoundingClientRect()]);
            boxes.forEach(([text, box], number) => {
                const outside = box.left < frame.left - slack || box.right > frame.right + slack;
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_wide_table_keeps_what_its_rows_are_of_in_view(opened: Browser, scheme: str) -> None:
    opened.prefer(scheme)
    opened.size(PHONE, 800)
    kept = """
        document.querySelectorAll("details").forEach((folded) => { folded.open = true; });
        const boxes = [...document.querySelectorAll(".scroll:has(table)")];
        return boxes.filter((box) => box.scrollWidth > box.clientWidth).map((box) => {
            box.scrollLeft = box.scrollWidth;
            box.dispatchEvent(new Event("scroll"));
            const frame = box.getBoundingClientRect();
            const cells = [...box.querySelectorAll(".names")];
            cells[1].scrollIntoView({ block: "center", inline: "nearest" });
            const place = cells[1].getBoundingClientRect();
            const met = document.elementFromPoint(place.left + 2, place.top + place.height / 2);
            const style = getComputedStyle(cells[1]);
            return [
                cells.length === box.querySelectorAll("tr").length,
                cells.every((cell) => cell.getBoundingClientRect().left > frame.left - 1),
                cells.every((cell) => cell.offsetWidth < frame.width / 2),
                cells[1].contains(met),
                style.backgroundColor === getComputedStyle(document.body).backgroundColor,
                style.boxShadow !== "none",
            ];
        });
    """
    found = opened.run(kept)
    assert found
    assert all(map(all, found)), found
