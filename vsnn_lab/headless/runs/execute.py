"""Execute a notebook from top to bottom, and move its sliders, which a headless run never does."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsnn_lab._basics.checks import check_path
from vsnn_lab.headless.runs.notebooks import load_notebook
from vsnn_lab.headless.runs.parameter_cell import inject_parameters
from vsnn_lab.headless.runs.parameters import check_values, parameters_of

if TYPE_CHECKING:
    from nbformat import NotebookNode

OnCell = Callable[[float, int], None]


def run_notebook(
    notebook: str | Path,
    output: str | Path,
    parameters: Mapping[str, Any] | None = None,
    *,
    progress: bool = True,
    on_cell: OnCell | None = None,
    exercise: bool = True,
    files: str | Path | None = None,
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
        files: Folder that is `output_folder` in the notebook; by default one beside ``output`` that
            is called like it, such as ``out_files``.

    Returns:
        ``output``.

    Raises:
        FileNotFoundError: If there is no such notebook.
        TypeError: If a parameter is not of its default's type; nothing has run then.
        ValueError: If the file is no notebook, its parameters cannot be read, it does not have one
            of them, or it names no kernel that is installed; nothing has run then.
        papermill.PapermillExecutionError: If a cell or a callback failed; the message shows it.
        nbclient.exceptions.DeadKernelError: If the kernel died, for want of memory for instance.
    """
    node, name = load_notebook(notebook), Path(notebook).name
    known = parameters_of(node, name)
    values = check_values(name, known, {} if parameters is None else parameters)
    kernel = _installed_kernel(node)
    output = check_path("output", output)
    if files is None:
        files = output.with_name(f"{output.stem}_files")
    files = check_path("files", files).absolute()
    output.parent.mkdir(parents=True, exist_ok=True)

    from papermill.engines import papermill_engines
    from papermill.execute import (
        prepare_notebook_metadata,
        raise_for_execution_errors,
        remove_error_markers,
    )
    from papermill.iorw import load_notebook_node, write_ipynb

    from vsnn_lab.headless.runs import engine

    # papermill's own steps: its function would take braces in a path for places of parameters, and
    # write tuples, and keys of dicts that are no texts, as texts.
    prepared = prepare_notebook_metadata(load_notebook_node(node), str(notebook), str(output))
    prepared = remove_error_markers(prepared)
    if values:
        inject_parameters(prepared, values)
    executed = papermill_engines.execute_notebook_with_engine(
        engine.NAME,
        prepared,
        kernel,
        output_path=str(output),
        progress_bar=progress,
        on_cell=on_cell,
        exercise=exercise,
        files=files,
    )
    raise_for_execution_errors(executed, str(output))
    write_ipynb(executed, str(output))
    return output


def _installed_kernel(notebook: "NotebookNode") -> str:
    """Return the name of the kernel that a notebook asks for."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    name = str(notebook.metadata.get("kernelspec", {}).get("name", ""))
    specs = KernelSpecManager()
    try:
        specs.get_kernel_spec(name)
    except NoSuchKernel:
        installed = ", ".join(sorted(specs.find_kernel_specs())) or "none"
        raise ValueError(
            f"notebook must name an installed kernel, got {name or 'none'}; installed: {installed}"
        ) from None
    return name
