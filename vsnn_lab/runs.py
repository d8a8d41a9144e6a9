"""Headless notebooks: parameters checked by name before anything starts."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def notebook_parameters(notebook: str | Path) -> dict[str, Any]:
    """Return the parameters of a notebook with their defaults, as papermill reads them.

    Args:
        notebook: Path of a notebook with a cell tagged ``parameters``.

    Raises:
        FileNotFoundError: If there is no such notebook.

    Returns:
        Source text of each default, by name.
    """
    import papermill

    if not Path(notebook).is_file():
        raise FileNotFoundError(f"no such notebook: {notebook}")
    found = papermill.inspect_notebook(str(notebook))
    return {name: parameter["default"] for name, parameter in found.items()}


def check_parameters(notebook: str | Path, parameters: Mapping[str, Any]) -> None:
    """Refuse a parameter that the notebook does not have; papermill would only warn.

    Raises:
        ValueError: If a name is unknown; the message lists the known ones.
        FileNotFoundError: If there is no such notebook.
    """
    known = notebook_parameters(notebook)
    for name in parameters:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(
                f"parameters must be among {', '.join(known)} of {Path(notebook).name}, got "
                f"{name!r}{hint}"
            )


def run_notebook(
    notebook: str | Path,
    output: str | Path,
    parameters: Mapping[str, Any] | None = None,
    *,
    progress: bool = True,
) -> Path:
    """Execute a notebook from top to bottom and write it with its outputs.

    Args:
        notebook: What to run.
        output: Where the executed notebook goes; what ran until a failure is there, too.
        parameters: Values for its parameter cell, by name.
        progress: Show a bar over the cells.

    Returns:
        ``output``.

    Raises:
        ValueError: If the notebook does not have one of the parameters; nothing has run then.
        papermill.PapermillExecutionError: If a cell failed; the message shows it.
    """
    import papermill

    parameters = dict(parameters or {})
    check_parameters(notebook, parameters)
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    papermill.execute_notebook(str(notebook), str(output), parameters, progress_bar=progress)
    return output
