"""Texts of a notebook as HTML that runs nothing and asks for nothing."""

import re
from pathlib import Path

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
# Bleach would leave their content standing there as text.
_HIDDEN = re.compile(r"<(script|style|template|noscript)\b.*?(</\1\s*>|\Z)", re.DOTALL | re.I)


def clean(html: str) -> Markup:
    """Return HTML of a notebook without scripts, styles and anything from elsewhere.

    Links stay; pictures stay if they are in the text itself.
    """
    return Markup(
        bleach.clean(
            _HIDDEN.sub("", html),
            tags=_TAGS,
            attributes=_allowed,
            protocols=_ADDRESSES,
            strip=True,
        )
    )


def _allowed(tag: str, attribute: str, value: str) -> bool:
    if (tag, attribute) == ("img", "src"):
        return value.startswith("data:image/")
    if (tag, attribute) == ("a", "href"):
        return not value.startswith("data:")
    return attribute in _PLAIN


def markdown(source: str, folder: Path, attachments: dict | None = None) -> Markup:
    """Return a markdown text as HTML, with the pictures that lie in its folder inside."""
    renderer = IPythonRenderer(
        escape=False,
        exclude_anchor_links=True,
        embed_images=True,
        path=str(folder),
        attachments=attachments,
    )
    return clean(MarkdownWithMath(renderer=renderer).render(source))


def words(html: Markup) -> str:
    """Return the words of a piece of HTML."""
    return html.striptags()


def code(source: str, language: str) -> Markup:
    """Return a program with its words marked by their kind."""
    return clean(Highlight2HTML(pygments_lexer=language)(source))


def printed(text: str) -> str:
    """Return what a terminal would show in the end: no colours, overwritten lines gone."""
    lines = strip_ansi(text).split("\n")
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines).strip("\n")
