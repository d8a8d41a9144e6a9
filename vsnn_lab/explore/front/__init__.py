"""The instruments' one ES module: a few files of plain JavaScript, joined as they are."""

import re
from functools import cache
from importlib import resources

# Each file after those that it imports from.
_FILES = (
    *("dom", "controls", "picker", "ranges", "choices", "prompt", "budget", "curve"),
    *(
        "frames",
        "masks",
        "matrix",
        "pictures",
        "ranking",
        "tiles",
        "dense",
        "sheet",
        "pad",
        "tokens",
        "continuation",
        "passage",
        "instrument",
        "mount",
    ),
)
_IMPORT = re.compile(r"^import [^;]*;\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?!default)", re.MULTILINE)
_DEFAULT = re.compile(r"^export default .*\n", re.MULTILINE)


def _read(name: str) -> str:
    return (resources.files(__name__) / name).read_text(encoding="utf-8")


@cache
def _joined() -> str:
    """Return all files as one scope: their top-level names differ."""
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", _read(f"{name}.js"))) for name in _FILES)


def module() -> str:
    """Return the ES module: `render` for a widget, `mount` for a page without a kernel."""
    return f"{_joined()}\nexport {{ mount }};\n"


def classic_script() -> str:
    """Return a script that defines ``vsnnMount(host, saved)``: modules load from no disk."""
    return f"window.vsnnMount = (() => {{\n{_DEFAULT.sub('', _joined())}\nreturn mount;\n}})();\n"


def boot_script() -> str:
    """Return a function of a script element and a widget's model that starts a saved instrument."""
    return _read("boot.js")


def style() -> str:
    """Return the style sheet of all instruments."""
    return _read("instrument.css")
