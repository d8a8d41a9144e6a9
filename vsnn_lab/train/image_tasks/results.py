"""Results of many trainings on images: kept, tracked, and read by width."""

from collections.abc import Iterable, Sequence
from statistics import fmean, geometric_mean

from vsnn_lab.train.by_position import collect_by_position
from vsnn_lab.train.image_tasks.tasks import KINDS, Task
from vsnn_lab.train.kept_runs import Result, RunCollection

_IDENTITY = ("task", "epochs", "images", "method", "seed")
COLLECTIONS = {kind: RunCollection(kind, _IDENTITY) for kind in KINDS}


def values_by_width(results: Iterable[Result], method: str, column: str) -> dict[int, list[float]]:
    """Return a measured column of a method by width, one number a seed.

    Args:
        results: Of one task.
        method: One of the task's, or "dedicated" for all networks of one size, of which the plain
            one is the widest.
        column: The metric, "accuracy" or "mse", "parameters", "macs" or "latency_ms".
    """
    whole = "plain" if method == "dedicated" else method
    return collect_by_position(
        result[column]
        for result in results
        if result["method"] == whole or result["method"].startswith(f"{method}-")
    )


def summary(kind: str, results: Sequence[Result]) -> list[str]:
    """Return lines that say how variable networks stand beside those of one size, by task."""
    return [
        line
        for name, task in KINDS[kind].items()
        for line in _lines(name, task, [each for each in results if each["task"] == name])
    ]


def _lines(name: str, task: Task, results: Sequence[Result]) -> list[str]:
    column = task.metric[0]
    variable, alone, pca = (
        {width: fmean(values) for width, values in found.items()}
        for found in (
            values_by_width(results, method, column) for method in ("variable", "dedicated", "pca")
        )
    )
    shown = "{:.3f} x 1000" if task.reconstructs else "{:.2f} %"
    scale = 1000 if task.reconstructs else 100
    lines, beside = [], []
    for width in sorted({*task.dedicated, task.width} & {*variable, *alone}):
        text = f"{name} {width}:"
        if width in alone:
            text += f" alone {shown.format(scale * alone[width])}"
        if width in variable:
            text += f" variable {shown.format(scale * variable[width])}"
        if width in pca:
            text += f" pca {shown.format(scale * pca[width])}"
        if width in alone and width in variable:
            beside.append((variable[width], alone[width]))
            text += f", {_difference(task, beside[-1:])}"
        lines.append(text)
    if beside:
        lines.append(f"{name}, mean of {len(beside)} widths: {_difference(task, beside)}")
    return lines


def _difference(task: Task, beside: Sequence[tuple[float, float]]) -> str:
    if task.reconstructs:
        return f"{geometric_mean(variable / alone for variable, alone in beside):.3f} times"
    return f"{100 * fmean(variable - alone for variable, alone in beside):+.2f} points"
