"""What a command line asks for, checked before anything starts."""

import re
from pathlib import Path
from typing import Any

from vsnn_lab._basics.checks import check_int
from vsnn_lab.headless import runs
from vsnn_lab.headless.runs import Run

_SPAN = re.compile(r"(-?\d+)\.\.(-?\d+)")
_QUOTES = ("'", '"')
_QUOTED = re.compile(r"""('[^']*'|"[^"]*")\s*(?=,|$)""")  # a whole value
_LONGEST_SPAN = 10_000  # values; more are a slip of the finger, and fill the memory


def read_profiles(path: Path) -> dict[str, dict[str, Any]]:
    """Return the sets of parameters of a YAML file, by name."""
    import yaml

    if not path.is_file():
        raise FileNotFoundError(f"no such file of profiles: {path}")
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"profiles must be YAML, got {path}: {error}") from error
    if not isinstance(found, dict) or not all(
        isinstance(each, dict | None) for each in found.values()
    ):
        raise ValueError(f"profiles must hold parameters by name of the run, got {path}")
    return {str(name): each or {} for name, each in found.items()}


def parse_parameters(path: Path, given: list[str] | None) -> dict[str, Any]:
    """Return NAME=VALUE pairs as checked parameters of a notebook."""
    return {
        name: _known_parameter(path, name).parse(text) for name, text in split_pairs("-p", given)
    }


def _known_parameter(path: Path, name: str) -> runs.Parameter:
    known = runs.notebook_parameters(path)
    if name not in known:
        runs.check_parameters(path, {name: None})  # which says what is known instead
    return known[name]


def requested_runs(
    notebook: str, given: list[str] | None, grid: list[str] | None, profile: str, where: Path | None
) -> list[Run]:
    """Return the runs of all combinations, each once; everything is checked before."""
    from vsnn_lab.headless.sweeps import grid as combinations

    path = runs.find_notebook(notebook, where)
    fixed = parse_parameters(path, given)
    base = _profile_parameters(path, profile) | fixed
    choices = {}
    for name, text in split_pairs("-g", grid):
        if name in fixed:
            raise ValueError(f"-g must name what -p does not, got {name} in both")
        choices[name] = _grid_values(_known_parameter(path, name), text)
    found = (Run.of(path, base | each) for each in combinations(choices))
    return list({run.folder: run for run in found}.values())


def _profile_parameters(path: Path, profile: str) -> dict[str, Any]:
    if profile == "full":
        return {}
    found = path.parent / f"{profile}.yaml"
    known = read_profiles(found)
    if path.stem not in known:
        raise ValueError(
            f"--profile must know {path.stem}, got {found}, which has {', '.join(known)}"
        )
    return known[path.stem]


def split_pairs(option: str, given: list[str] | None) -> list[tuple[str, str]]:
    """Return the names and values of an option; each name stands once."""
    found: dict[str, str] = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not (name and equals):
            raise ValueError(f"{option} must be NAME=VALUE, got {text}")
        if name in found:
            raise ValueError(f"{option} must name {name} once, got {found[name]} and {value}")
        found[name] = value
    return list(found.items())


def _grid_values(parameter: runs.Parameter, text: str) -> list[Any]:
    """Return the values of 5,10 or 0..4 (both ends included) or a mixture.

    A comma in brackets or in a value in quotes is part of it; of a text, brackets are letters.
    """
    is_text, found = isinstance(parameter.default, str), []
    for part in _split_at_commas(text, brackets=not is_text):
        if is_text and _QUOTED.fullmatch(part):
            found.append(part[1:-1])
            continue
        span = _SPAN.fullmatch(part)
        if span is None:
            found.append(parameter.parse(part))
            continue
        first, last = map(int, span.groups())
        check_int(f"the end of {part}", last, first)
        if last - first >= _LONGEST_SPAN:
            raise ValueError(
                f"-g must have spans of at most {_LONGEST_SPAN:,} values, got "
                f"{parameter.name}={part}"
            )
        found += [parameter.parse(str(number)) for number in range(first, last + 1)]
    return found


def _split_at_commas(text: str, *, brackets: bool) -> list[str]:
    """Split at the commas outside brackets and outside values that are in quotes as a whole."""
    parts, rest = [], text.strip()
    while True:
        quoted = _QUOTED.match(rest)
        end = quoted.end() if quoted else _end_of_value(rest, brackets)
        parts.append(rest[:end].strip())
        if end == len(rest):
            return parts
        rest = rest[end + 1 :].lstrip()


def _end_of_value(text: str, brackets: bool) -> int:
    """Return the place of the first comma outside brackets, or the length of the text."""
    depth, quote = 0, ""
    for place, letter in enumerate(text):
        if quote:  # in a list, brackets and commas in quotes are letters, too
            quote = "" if letter == quote else quote
        elif brackets and letter in "([{":
            depth += 1
        elif brackets and letter in ")]}":
            depth -= 1
        elif depth and letter in _QUOTES:
            quote = letter
        elif letter == "," and not depth:
            return place
    return len(text)
