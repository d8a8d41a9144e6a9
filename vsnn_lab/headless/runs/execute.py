"""Execute a notebook from top to bottom, and move its sliders, which a headless run never does."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vsnn_lab._basics.checks import check_path
from vsnn_lab.headless.runs.parameters import check_parameters

OnCell = Callable[[float, int], None]


def run_notebook(
    notebook: str | Path,
    output: str | Path,
    parameters: Mapping[str, Any] | None = None,
    *,
    progress: bool = True,
    on_cell: OnCell | None = None,
    exercise: bool = True,
) -> Path:
    """Execute a notebook from top to bottom and write it with its outputs.

    At the end every slider and menu of its widgets is moved through its range, so that a callback
    that fails is found.

    Args:
        notebook: What to run.
        output: Where the executed notebook goes; what ran until a failure is there, too.
        parameters: Values for its parameter cell, by name.
        progress: Show a bar over the cells.
        on_cell: Called with the number of cells done and of all cells, whenever one is; and while
            a cell shows a progress bar, with its share added.
        exercise: Whether the widgets are moved.

    Returns:
        ``output``.

    Raises:
        FileNotFoundError: If there is no such notebook.
        TypeError: If a parameter is not of its default's type; nothing has run then.
        ValueError: If the notebook does not have one of the parameters, or names no kernel that is
            installed; nothing has run then.
        papermill.PapermillExecutionError: If a cell or a callback failed; the message shows it.
        nbclient.exceptions.DeadKernelError: If the kernel died, for want of memory for instance.
    """
    import papermill

    from vsnn_lab.headless.runs import engine

    parameters = check_parameters(notebook, {} if parameters is None else parameters)
    _check_kernel(notebook)
    output = check_path("output", output)
    output.parent.mkdir(parents=True, exist_ok=True)
    papermill.execute_notebook(
        str(notebook),
        str(output),
        parameters,
        engine.NAME,
        progress_bar=progress,
        on_cell=on_cell,
        exercise=exercise,
    )
    return output


def _check_kernel(notebook: str | Path) -> None:
    import nbformat
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    name = nbformat.read(notebook, 4).metadata.get("kernelspec", {}).get("name", "")
    specs = KernelSpecManager()
    try:
        specs.get_kernel_spec(name)
    except NoSuchKernel:
        installed = ", ".join(sorted(specs.find_kernel_specs())) or "none"
        raise ValueError(
            f"notebook must name an installed kernel, got {name or 'none'}; installed: {installed}"
        ) from None
