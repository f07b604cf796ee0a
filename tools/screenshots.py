"""Pictures of a study's page for the README: `python -m tools.screenshots var/studies/quick/report.html`.

Needs Debian's chromium.
"""

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tools.browser import Browser, browser, missing

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "images"


@dataclass(frozen=True)
class View:
    """A picture: its file's name, the window's size in CSS pixels, the colours, and the element at its top."""

    name: str
    width: int
    height: int
    scheme: str
    top: str | None = None
    scale: float = 1.0


VIEWS = (
    View("report-light", 1160, 900, "light"),
    View("report-dark", 1160, 900, "dark", top="figures"),
    View("report-phone", 390, 780, "light", top="results", scale=1.5),
)


def main() -> int:
    """Take every view of a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path, help="a study's report.html")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the pictures go (default: docs/images)")
    given = parser.parse_args()
    reason = missing()
    if reason is not None:
        print(reason, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as work, browser(Path(work)) as opened:
        for path in take(opened, given.page, given.folder):
            print(f"{path} ({path.stat().st_size // 1000} kB)")
    return 0


def take(opened: Browser, page: Path, folder: Path) -> list[Path]:
    """Write a picture of each view into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for view in VIEWS:
        opened.prefer(view.scheme)
        opened.size(view.width, view.height, scale=view.scale)
        opened.open(page)
        opened.run("document.getElementById(arguments[0])?.scrollIntoView()", view.top)
        path = folder / f"{view.name}.png"
        path.write_bytes(opened.screenshot())
        written.append(path)
    return written


if __name__ == "__main__":
    sys.exit(main())
