"""Texts of a notebook as HTML that runs nothing and asks for nothing."""

import functools
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import bleach
from markupsafe import Markup
from nbconvert.filters.ansi import strip_ansi
from nbconvert.filters.highlight import Highlight2HTML
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

_TAGS = {
    *bleach.ALLOWED_TAGS,
    *("h1", "h2", "h3", "h4", "h5", "h6", "p", "br", "hr", "pre", "div", "span", "img"),
    *("table", "caption", "colgroup", "col", "thead", "tbody", "tfoot", "tr", "th", "td"),
    *("del", "s", "sub", "sup", "dl", "dt", "dd", "details", "summary", "figure", "figcaption"),
}
_PLAIN = {"class", "title", "colspan", "rowspan", "scope", "align", "alt", "start", "open"}
_ADDRESSES = {"http", "https", "mailto", "data"}
# A place on the page itself, or one on another site; all other addresses are files beside the page.
_NO_FILE = re.compile(r"#|//|[a-z][a-z0-9+.-]*:", re.IGNORECASE)
# Bleach would leave their content standing there as text.
_HIDDEN = re.compile(r"<(script|style|template|noscript)\b.*?(</\1\s*>|\Z)", re.DOTALL | re.I)


@dataclass(frozen=True)
class Place:
    """Where a text is from and where it goes.

    Attributes:
        folder: Of its notebook; pictures that lie there become part of the text.
        files: Names of the files beside its page.
    """

    folder: Path
    files: Collection[str] = ()


def clean(html: str, files: Collection[str] = ()) -> Markup:
    """Return HTML of a notebook without scripts, styles and anything from elsewhere.

    Links to other sites and to these files stay, of others the text; pictures stay if they are in
    the text itself.
    """
    return Markup(
        bleach.clean(
            _HIDDEN.sub("", html),
            tags=_TAGS,
            attributes=functools.partial(_allowed, files),
            protocols=_ADDRESSES,
            strip=True,
        )
    )


def _allowed(files: Collection[str], tag: str, attribute: str, value: str) -> bool:
    if (tag, attribute) == ("img", "src"):
        return value.startswith("data:image/")
    if (tag, attribute) == ("a", "href"):
        if _NO_FILE.match(value):
            return not value.startswith("data:")
        return unquote(re.split(r"[?#]", value)[0]) in files
    return attribute in _PLAIN


def markdown(source: str, place: Place, attachments: dict[str, Any] | None = None) -> Markup:
    """Return a markdown text as HTML, with the pictures that lie in its folder inside."""
    renderer = IPythonRenderer(
        escape=False,
        exclude_anchor_links=True,
        embed_images=True,
        path=str(place.folder),
        attachments=attachments,
    )
    return clean(MarkdownWithMath(renderer=renderer).render(source), place.files)


def highlighted_code(source: str, language: str) -> Markup:
    """Return a program with its words marked by their kind."""
    return clean(Highlight2HTML(pygments_lexer=language)(source))


def terminal_text(text: str) -> str:
    """Return what a terminal would show in the end: no colours, overwritten lines gone."""
    lines = strip_ansi(text).split("\n")
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines).strip("\n")
