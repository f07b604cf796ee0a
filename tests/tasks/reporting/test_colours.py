"""The series of a chart are told apart on either paper, with any colour vision, and by more than their colour."""

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.reporting import charts
from tasks.reporting.charts import DASHES, STYLES, _dash, _shape, colour_of, style_of

Floats = NDArray[np.float64]

VISION = {
    "full": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
"""What becomes of linear RGB at severity 1 (Machado, Oliveira & Fernandes 2009, IEEE Trans. Vis. Comput. Graph. 15)."""
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
APART = 15.0
"""In CIE 1976 units, of which 2.3 are just noticeable where colours touch."""


@pytest.fixture(params=["style.css", "dark.css"])
def theme(request: pytest.FixtureRequest) -> tuple[Floats, Floats]:
    """The paper and the colours of series, in linear RGB."""
    text = Path(charts.__file__).with_name(request.param).read_text()
    held = dict(re.findall(r"--(paper|c\d): (#[0-9a-f]{6});", text))
    return linear(held.pop("paper")), np.array([linear(held[f"c{number}"]) for number in range(len(held))])


def linear(colour: str) -> Floats:
    """Of sRGB in hexadecimal."""
    part = np.array([int(colour[at : at + 2], 16) / 255.0 for at in (1, 3, 5)])
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def lab(rgb: Floats) -> Floats:
    """CIE L*a*b* of linear RGB under D65."""
    t = (rgb @ TO_XYZ.T) / TO_XYZ.sum(axis=1)
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=-1)


def luminance(rgb: Floats) -> float:
    return float(rgb @ TO_XYZ[1])


@pytest.mark.parametrize("vision", list(VISION))
def test_colours_are_apart_with_any_colour_vision(theme: tuple[Floats, Floats], vision: str) -> None:
    seen = lab(np.clip(theme[1] @ VISION[vision].T, 0.0, 1.0))
    distances = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    nearest = np.unravel_index(int(distances.argmin()), distances.shape)
    assert distances.min() >= APART, nearest


def test_colours_stand_out_from_the_paper(theme: tuple[Floats, Floats]) -> None:
    paper, colours = theme
    for number, colour in enumerate(colours):
        low, high = sorted((luminance(colour), luminance(paper)))
        assert (high + 0.05) / (low + 0.05) >= 3.0, number


@pytest.mark.parametrize("sheet", ["style.css", "dark.css"])
def test_words_can_be_read_on_the_paper(sheet: str) -> None:
    text = Path(charts.__file__).with_name(sheet).read_text()
    inks = dict(re.findall(r"--(paper|ink|soft|link|up|down): (#[0-9a-f]{6});", text))
    paper = luminance(linear(inks.pop("paper")))
    assert list(inks) == ["ink", "soft", "link", "up", "down"]
    for name, colour in inks.items():
        low, high = sorted((luminance(linear(colour)), paper))
        assert (high + 0.05) / (low + 0.05) >= 4.5, name


def test_no_two_of_many_series_look_alike() -> None:
    looks = [
        (colour_of(style), _dash(style), tuple(_shape(style)(0.0, 0.0, 4.0))) for style in map(style_of, range(57))
    ]
    assert STYLES == len(set(looks)) == 57
    for own in zip(*looks[: len(DASHES)], strict=True):
        assert len(set(own)) == len(DASHES)
    assert sum(colour == 0 for colour, _, _ in looks) == 1
