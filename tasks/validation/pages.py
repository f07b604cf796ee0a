"""Data Docs that look right without a network.

Great Expectations' pages take their looks from half a dozen other servers, and its index is empty without them.
"""

import html
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from tasks.validation.report import Outcome, describe

_EXTERNAL = re.compile(
    r"""<link\b[^>]*\bhref="https?://[^>]*>|<script\b[^>]*\bsrc="https?://[^>]*>\s*</script>"""
    r"""|<img\b[^>]*\bsrc="https?://[^>]*>|<link\b[^>]*\brel="shortcut icon"[^>]*>"""
)

_POLICY = (
    """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; """
    """base-uri 'none'; form-action 'none'">"""
)
"""The pages show what logs hold: whatever that is, nothing of it runs."""

_DARK = "(prefers-color-scheme: dark)"

_STYLE = """\
body { font: 15px/1.5 system-ui, sans-serif; color: #212529; margin: 0; padding: 0 1.5rem 3rem; }
a { color: #0062cc; }
nav, ol, ul.nav { display: flex; gap: 1rem; flex-wrap: wrap; list-style: none; padding: 0; }
.row { display: flex; flex-wrap: wrap; gap: 0 1.5rem; }
.row > .col-md-2 { flex: 0 0 14rem; } .row > .col-md-10 { flex: 1 1 40rem; min-width: 0; }
.row > .col-12 { flex: 0 0 100%; }
.alert, .card { border: 1px solid #dee2e6; border-radius: 4px; padding: .6rem 1rem; margin: .5rem 0; }
.alert-secondary, .card-header, th { background: #f1f3f5; }
table { border-collapse: collapse; margin: .5rem 0 1rem; }
th, td { border: 1px solid #dee2e6; padding: .3rem .6rem; text-align: left; vertical-align: top; }
.badge { background: #e9ecef; border-radius: 4px; padding: 0 .4rem; }
.text-success, .met { color: #1a7f37; } .text-danger, .critical { color: #b42318; }
.text-warning, .warning { color: #9a6700; }
.fa-check-circle::before { content: "\\2714"; } .fa-times::before { content: "\\2718"; }
.fa-exclamation-triangle::before { content: "\\26A0"; } .fas { font-style: normal; }
.collapse, .carousel, .modal, .btn, footer, #ge-cta-footer { display: none; }
@media screen and (prefers-color-scheme: dark) {
  body { background: #16191c; color: #e9ecef; } a { color: #6cb2ff; }
  .alert-secondary, .card-header, th, .badge { background: #2b3035; }
  .text-success, .met { color: #57d27e; } .text-danger, .critical { color: #ff8a80; }
  .text-warning, .warning { color: #e3b341; }
}
"""

_INDEX = """\
<!DOCTYPE html>
<html lang="en">
<head>{policy}<meta charset="UTF-8"><meta name="viewport" content="width=device-width, initial-scale=1.0">
<title>{subject}</title><style>{style}</style></head>
<body>
<h1>{subject}</h1>
<p>{met} of {all} expectations met; {critical} critical and {warnings} warnings not met.</p>
<table>
<tr><th>table</th><th>expectation</th><th>severity</th><th>outcome</th></tr>
{rows}
</table>
</body>
</html>
"""


def make_self_contained(site: Path, outcomes: Sequence[Outcome], *, subject: str) -> None:
    """Take out of the pages in `site` what they want from other servers, put in a style of their own, and write an
    index of all outcomes that links to them.
    """
    shutil.rmtree(site / "static", ignore_errors=True)  # megabytes of fonts and pictures, used by none of the pages
    for page in site.rglob("*.html"):
        text = _EXTERNAL.sub("", page.read_text(encoding="utf-8"))
        text = text.replace(f"@media {_DARK}", f"@media screen and {_DARK}")  # paper is light
        text = text.replace("<head>", f"<head>{_POLICY}", 1)  # it holds for what comes after it
        page.write_text(text.replace("</head>", f"<style>{_STYLE}</style></head>", 1), encoding="utf-8")
    pages = {page.stem.rsplit("-", 1)[-1]: page for page in (site / "validations").rglob("*.html")}
    links = {table: quote(page.relative_to(site).as_posix()) for table, page in pages.items()}
    unmet = [outcome for outcome in outcomes if not outcome.success]
    content = _INDEX.format(
        subject=html.escape(subject),
        policy=_POLICY,
        style=_STYLE,
        met=len(outcomes) - len(unmet),
        all=len(outcomes),
        critical=sum(outcome.severity == "critical" for outcome in unmet),
        warnings=sum(outcome.severity == "warning" for outcome in unmet),
        rows="\n".join(_row(outcome, link=links.get(outcome.table, "")) for outcome in outcomes),
    )
    (site / "index.html").write_text(content, encoding="utf-8")


def _row(outcome: Outcome, *, link: str) -> str:
    told = "met" if outcome.success else html.escape(describe(outcome))
    looks = "met" if outcome.success else outcome.severity
    return (
        f'<tr><td><a href="{link}">{html.escape(outcome.table)}</a></td><td>{html.escape(outcome.name)}</td>'
        f'<td>{outcome.severity}</td><td class="{looks}">{told}</td></tr>'
    )
