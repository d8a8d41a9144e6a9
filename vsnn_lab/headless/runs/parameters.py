"""What a notebook asks and what it can be told: its question and its parameters."""

import ast
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsnn_lab.headless.runs.notebooks import load_notebook
from vsnn_lab.headless.runs.parameter_cell import TAG, assigned_literals, is_plain

if TYPE_CHECKING:
    from nbformat import NotebookNode


@dataclass(frozen=True)
class Parameter:
    """A name of the cell tagged ``parameters``.

    Attributes:
        name: What it is called.
        default: Its value in the notebook.
        help: The comment behind it: unit, meaning, choices.
    """

    name: str
    default: Any
    help: str = ""

    def check(self, value: Any) -> Any:
        """Return a value of the default's type; an int may stand for a float.

        Each item of a list must be of the type of one of the default's items.

        Raises:
            TypeError: If the value is of another type.
        """
        # The text of a literal shows its types, too, down to the last item.
        if repr(value) == repr(self.default):
            return value
        kind = type(self.default)
        if kind is float and type(value) is int:
            return float(value)
        # A default of None tells nothing about the type.
        if self.default is not None and type(value) is not kind:
            raise TypeError(
                f"{self.name} must be {_type_name(kind)}, as its default {self.default!r} is, "
                f"got {value!r}"
            )
        if kind is list and self.default:
            return [self._check_item(item) for item in value]
        if not is_plain(value):
            raise TypeError(
                f"{self.name} must be made of numbers, texts, lists, and dicts by text, got "
                f"{value!r}"
            )
        return value

    def _check_item(self, item: Any) -> Any:
        """Return an item of a list, of the type of any of the default's."""
        name, kinds = f"each of {self.name}", list(dict.fromkeys(map(type, self.default)))
        if item is None and type(None) in kinds:
            return item
        # Beside others None stands for itself alone; and an int stays one where there are ints.
        known = [each for each in self.default if each is not None or len(kinds) == 1]
        known.sort(key=lambda each: type(each) is not type(item))
        refused: list[TypeError] = []
        for each in known:
            try:
                return Parameter(name, each).check(item)
            except TypeError as error:
                refused.append(error)
        if len(kinds) == 1:
            raise refused[0]
        raise TypeError(
            f"{name} must be {' or '.join(map(_type_name, kinds))}, as in its default "
            f"{self.default!r}, got {item!r}"
        )

    def parse(self, text: str) -> Any:
        """Return the value that a text on a command line stands for.

        Raises:
            TypeError: If it is of another type than the default.
        """
        if isinstance(self.default, str):
            return text
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            value = text
        if isinstance(self.default, list) and isinstance(value, tuple):
            value = list(value)
        return self.check(value)


def notebook_parameters(notebook: str | Path) -> dict[str, Parameter]:
    """Return the parameters of a notebook with their defaults and comments.

    They are what its cell tagged ``parameters`` assigns; without one there are none.

    Args:
        notebook: Path of a notebook.

    Raises:
        FileNotFoundError: If there is no such notebook.
        ValueError: If it is no notebook, several cells have the tag, or the cell is no Python that
            assigns literals; the message names the line.
    """
    return parameters_of(load_notebook(notebook), Path(notebook).name)


def parameters_of(notebook: "NotebookNode", name: str) -> dict[str, Parameter]:
    """Return the parameters of a notebook that is read already; ``name`` is for messages."""
    tagged = [cell for cell in notebook.cells if TAG in cell.metadata.get("tags", [])]
    if not tagged:
        return {}
    if len(tagged) > 1 or tagged[0].cell_type != "code":
        kinds = ", ".join(cell.cell_type for cell in tagged)
        raise ValueError(
            f"{name} must have one code cell tagged parameters, got {len(tagged)} cells: {kinds}"
        )
    about = notebook.metadata
    language = about.get("kernelspec", {}).get("language") or about.get("language_info", {}).get(
        "name", "python"
    )
    if language.lower() not in ("python", "ipython"):
        raise ValueError(f"parameters of {name} must be Python, got {language}")
    found = assigned_literals(tagged[0].source, name)
    return {each: Parameter(each, *default) for each, default in found.items()}


def check_parameters(notebook: str | Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters by name, each of the type of its default.

    Raises:
        FileNotFoundError: If there is no such notebook.
        TypeError: If a value is not of its default's type.
        ValueError: If a name is unknown; the message lists the known ones.
    """
    known = notebook_parameters(notebook)
    return check_values(Path(notebook).name, known, parameters)


def all_parameters(notebook: str | Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a notebook runs with: `check_parameters`, and the defaults of the others."""
    known = notebook_parameters(notebook)
    defaults = {name: each.default for name, each in known.items()}
    return defaults | check_values(Path(notebook).name, known, parameters)


def check_values(
    notebook: str, known: Mapping[str, Parameter], parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """Return values of known parameters, checked as in `check_parameters`."""
    for name in check_named_values("parameters", parameters):
        if name not in known:
            if not known:
                raise ValueError(
                    f"parameters must be none, since {notebook} has no cell tagged "
                    f"parameters that assigns any, got {name!r}"
                )
            near = difflib.get_close_matches(str(name), known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(
                f"parameters must be among {', '.join(known)} of {notebook}, got {name!r}{hint}"
            )
    return {name: known[name].check(value) for name, value in parameters.items()}


def notebook_question(notebook: str | Path) -> str:
    """Return the heading of a notebook: its question, or its name where it has none."""
    for cell in load_notebook(notebook).cells[:1]:
        for line in cell.source.splitlines():
            if cell.cell_type == "markdown" and line.startswith("# "):
                return line.removeprefix("# ").strip()
    return Path(notebook).stem


def check_named_values(argument: str, value: Any) -> Mapping[str, Any]:
    """Return a mapping whose keys are names, or say what it is instead."""
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise TypeError(f"{argument} must map names to values, got {value!r}")
    return value


def _type_name(kind: type) -> str:
    names = {int: "an int", str: "a text", list: "a list", float: "a number", bool: "True or False"}
    names |= {type(None): "None"}
    return names.get(kind, f"a {kind.__name__}")
