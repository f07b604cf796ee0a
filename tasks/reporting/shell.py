"""What every page is: one file that needs no network, light and dark, with its own style, script and downloads."""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from tasks.reporting.svg import element, escape, words

FOOT = "Made by Rec-Denoiser. This page needs no network: figures, numbers and tables are in it."


def document(title: str, opening: str, sections: Sequence[tuple[str, str, str]], *, skip: str) -> str:
    """A page. opening: markup under the head; sections: (id, heading, markup), those without markup are left out;
    skip: what the link to the first one says.
    """
    held = [(ident, heading, content) for ident, heading, content in sections if content]
    style, early, script = _style(), _asset("early.js"), _asset("script.js")
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(early)}' '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    head = (
        '<meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><script>{early}</script><style>{style}</style>"
    )
    navigation = element(
        "nav", (words("a", heading, href=f"#{ident}") for ident, heading, _ in held), aria_label="Contents"
    )
    first = words("a", skip, class_="skip", href=f"#{held[0][0]}") if held else ""
    top = f'{first}<button id="theme" type="button" hidden></button>{opening}{navigation}'
    body = "".join(element("section", words("h2", heading) + content, id=ident) for ident, heading, content in held)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{element("header", top)}\n'
        f"{element('main', body)}\n{words('footer', FOOT)}\n<script>{script}</script>\n</body>\n</html>\n"
    )


def links(files: Mapping[str, str], name: str) -> str:
    """Links to a table's or figure's files, which the page carries itself."""
    kinds = {"csv": "text/csv", "md": "text/markdown", "tex": "application/x-tex"}
    held = {ending: files[f"{name}.{ending}"] for ending in kinds if f"{name}.{ending}" in files}
    downloads = (
        words(
            "a",
            {"csv": "CSV", "md": "Markdown", "tex": "LaTeX"}[ending],
            href=f"data:{kinds[ending]};charset=utf-8,{quote(text, safe=',:;/()+=')}",
            download=f"{name}.{ending}",
        )
        for ending, text in held.items()
    )
    return element("p", "Download: " + " · ".join(downloads), class_="files") if held else ""


def entries(pairs: Iterable[tuple[str, str]], *, class_: str | None = None) -> str:
    """Names and what is said of each."""
    return element("dl", (words("dt", name) + words("dd", told) for name, told in pairs), class_=class_)


def _style() -> str:
    dark = _asset("dark.css")
    return (
        f"{_asset('style.css')}"
        f'@media screen and (prefers-color-scheme: dark) {{ :root:not([data-theme="light"]) {{ {dark} }} }}\n'
        f'@media screen {{ :root[data-theme="dark"] {{ {dark} }} }}\n'
    )


def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """The source expression by which a content security policy lets this text in and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
