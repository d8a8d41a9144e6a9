"""What a notebook found: recorded in its own outputs, kept as plain files, loaded as a table."""

import json
import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vsnn_lab._basics.checks import check_path
from vsnn_lab.headless.runs.folder import RESULTS, damaged_file_error, read_record, runs_root

if TYPE_CHECKING:
    import pandas as pd

    from vsnn_lab.figures import Metric

MIME = "application/vnd.vsnn_lab.record+json"
# JSON has no such numbers, and a kernel's messages would make texts of them.
_NOT_FINITE = ("nan", "inf", "-inf")


def record(metric: "Metric | None" = None, /, **values: Any) -> None:
    """Record results of a notebook, for those who compare runs.

    They become part of the cell's output, and of the run's ``results.json`` when it is kept. A name
    that is recorded again has the last value.

    Args:
        metric: What these values measure, curves of it included: name, unit, and which of two is
            better. Whoever ranks runs needs it.
        values: Numbers, texts, lists of them, or pandas tables, by name. Numbers come back exactly,
            also nan and the infinities; what else a table holds, such as dates, comes back as text.

    Raises:
        TypeError: If a value, or the metric, is of another kind.

    Example:
        >>> from vsnn_lab.figures import Metric
        >>> metric = Metric("test accuracy", "higher", unit="%", scale=100)
        >>> record(metric, accuracy=0.9, plain=0.8)  # doctest: +SKIP
        recorded: accuracy = 90 %, plain = 80 %

    References:
        The idea is scrapbook's, https://nteract-scrapbook.readthedocs.io.
    """
    from IPython.display import display

    from vsnn_lab.figures.metric import check_metric

    metric = check_metric("metric", metric)
    plain = {name: _plain_value(name, value) for name, value in values.items()}
    shown = ", ".join(f"{name} = {_summary(value, metric)}" for name, value in plain.items())
    encoded = {name: _encode_floats(value) for name, value in plain.items()}
    about = {} if metric is None else {"metadata": {MIME: {"metric": asdict(metric)}}}
    display({"text/plain": f"recorded: {shown}", MIME: encoded}, raw=True, **about)


def decode_results(encoded: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `record` wrote for JSON, by name, with its numbers as they were."""
    return {name: _decode_floats(value) for name, value in encoded.items()}


def recorded_values(notebook: Path) -> dict[str, Any]:
    """Return what an executed notebook recorded, by name, as `record` wrote it."""
    return {name: value for name, value, _ in _recorded(notebook)}


def recorded_metrics(notebook: Path) -> dict[str, dict[str, Any]]:
    """Return the fields of the metric of each value that was recorded with one, the last time."""
    found = {name: metric for name, _, metric in _recorded(notebook)}
    return {name: metric for name, metric in found.items() if metric is not None}


def _recorded(notebook: Path) -> Iterator[tuple[str, Any, dict[str, Any] | None]]:
    import nbformat

    for cell in nbformat.read(notebook, 4).cells:
        for output in cell.get("outputs", []):
            metric = output.get("metadata", {}).get(MIME, {}).get("metric")
            for name, value in output.get("data", {}).get(MIME, {}).items():
                yield name, value, metric


def metrics(folder: str | Path) -> "dict[str, Metric]":
    """Return what the results of the run in a folder measure, by name, where it was recorded.

    Raises:
        FileNotFoundError: If no run has ended there.
        ValueError: If a file is damaged.
    """
    from vsnn_lab.figures.metric import Metric

    found = read_record(folder).get("metrics", {})
    return {name: Metric(**fields) for name, fields in found.items()}


def results(folder: str | Path) -> dict[str, Any]:
    """Return the results of the run in a folder; tables are pandas frames.

    Raises:
        FileNotFoundError: If no run has ended there.
        ValueError: If a file is damaged.
    """
    read_record(folder)
    return _load_results(Path(folder))


def _load_results(folder: Path) -> dict[str, Any]:
    """Return the results of a run whose record was read, and so its files compared with it."""
    import pandas as pd

    path = folder / RESULTS
    try:
        return {
            name: pd.DataFrame(**value) if _is_table(value) else value
            for name, value in decode_results(json.loads(path.read_text(encoding="utf-8"))).items()
        }
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise damaged_file_error(path, error) from error


def load_runs(root: str | Path | None = None, notebook: str | None = None) -> "pd.DataFrame":
    """Return a table of all runs that ended well: parameters and single results, a row each.

    A damaged run is left out with a warning that names it.

    Args:
        root: Folder of all runs; by default ``runs/notebooks`` among the data.
        notebook: Name of the notebook, without ending; by default all.

    Returns:
        Columns ``notebook``, ``started``, ``seconds``, ``commit``, ``folder``, then parameters and
        results by their names; a result that is called like a parameter has `` (result)`` behind
        it.
    """
    import pandas as pd

    root = runs_root() if root is None else check_path("root", root)
    pattern = "*" if notebook is None else check_path("notebook", notebook, "file").name
    rows = []
    for path in sorted(root.glob(f"{pattern}/*/run.json")):
        try:
            run, values = read_record(path.parent), _load_results(path.parent)
        except FileNotFoundError:  # it is run again just now
            continue
        except ValueError as error:
            warnings.warn(f"left out: {error}", stacklevel=2)
            continue
        if run["state"] != "done":
            continue
        row = {name: run[name] for name in ("notebook", "started", "seconds", "commit")}
        row |= {"folder": str(path.parent), **run["parameters"]}
        for name, value in values.items():
            if not isinstance(value, list | pd.DataFrame):
                row[f"{name} (result)" if name in row else name] = value
        rows.append(row)
    return pd.DataFrame(rows)


def _plain_value(name: str, value: Any) -> Any:
    """Return a result as plain numbers, texts and lists; a table as its columns and rows."""
    import pandas as pd

    if isinstance(value, pd.Series):
        value = value.to_frame()
    if isinstance(value, pd.DataFrame):
        has_index = any(value.index.names) or not isinstance(value.index, pd.RangeIndex)
        whole = value.reset_index() if has_index else value
        rows = whole.to_dict("split")["data"]
        data = [[_plain_cell(cell) for cell in row] for row in rows]
        return {"columns": [str(column) for column in whole.columns], "data": data}
    if hasattr(value, "tolist"):  # NumPy's and torch's
        value = value.tolist()
    items = value if isinstance(value, list | tuple) else [value]
    if not all(item is None or isinstance(item, bool | int | float | str) for item in items):
        raise TypeError(
            f"{name} must be a number, a text, a list of them or a pandas table to be recorded, "
            f"got {type(value).__name__}"
        )
    return list(items) if isinstance(value, list | tuple) else value


def _plain_cell(cell: Any) -> Any:
    """Return a cell of a table as a number, a text, None, or a list of them."""
    import pandas as pd

    if hasattr(cell, "tolist"):
        cell = cell.tolist()
    if isinstance(cell, list | tuple):
        return [_plain_cell(item) for item in cell]
    if cell is None or isinstance(cell, bool | int | float | str):
        return cell
    return None if cell is pd.NA or cell is pd.NaT else str(cell)


def _encode_floats(value: Any) -> Any:
    """Return a plain value with each number that is not finite as JSON can hold it."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(float(value))}
    if isinstance(value, list):
        return [_encode_floats(item) for item in value]
    if isinstance(value, dict):
        return {name: _encode_floats(item) for name, item in value.items()}
    return value


def _decode_floats(value: Any) -> Any:
    """Return what `_encode_floats` was given."""
    if isinstance(value, dict) and set(value) == {"float"} and value["float"] in _NOT_FINITE:
        return float(value["float"])
    if isinstance(value, list):
        return [_decode_floats(item) for item in value]
    if isinstance(value, dict):
        return {name: _decode_floats(item) for name, item in value.items()}
    return value


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"columns", "data"}


def _summary(value: Any, metric: "Metric | None") -> str:
    if _is_table(value):
        return f"a table of {len(value['data'])} rows"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return repr(value) if isinstance(value, str) else result_text(value, metric)


def result_text(value: Any, metric: "Metric | None" = None) -> str:
    """Return a result that fits on a line, a number as its metric shows it, if it has one."""
    if metric is not None and is_number(value):
        return metric.text(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def is_scalar(value: Any) -> bool:
    """Whether a result is one number or text, which a line can show."""
    return isinstance(value, bool | int | float | str | np.generic)


def is_number(value: Any) -> bool:
    """Whether a result is one number, which may be better or worse than another."""
    return isinstance(value, int | float) and not isinstance(value, bool)
