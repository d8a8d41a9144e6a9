"""What a command line asks for, checked before anything starts."""

import re
from pathlib import Path
from typing import Any

from vsnn_lab._basics.checks import check_int
from vsnn_lab.headless import runs
from vsnn_lab.headless.runs import Run

_SPAN = re.compile(r"(-?\d+)\.\.(-?\d+)")
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
        parameter = _known_parameter(path, name)
        choices[name] = [parameter.parse(value) for value in _grid_values(name, text)]
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
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise ValueError(f"{option} must be NAME=VALUE, got {text}")
        if name in found:
            raise ValueError(f"{option} must name {name} once, got {found[name]} and {value}")
        found[name] = value
    return list(found.items())


def _grid_values(name: str, text: str) -> list[str]:
    """Split 5,10 or 0..4 (both ends included) or a mixture; a list keeps its commas."""
    found = []
    for part in _split_outside_brackets(text):
        span = _SPAN.fullmatch(part.strip())
        if span is None:
            found.append(part.strip())
            continue
        first, last = map(int, span.groups())
        check_int(f"the end of {part}", last, first)
        if last - first >= _LONGEST_SPAN:
            raise ValueError(
                f"-g must have spans of at most {_LONGEST_SPAN:,} values, got {name}={part}"
            )
        found += map(str, range(first, last + 1))
    return found


def _split_outside_brackets(text: str) -> list[str]:
    """Split at the commas outside brackets and braces."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts
