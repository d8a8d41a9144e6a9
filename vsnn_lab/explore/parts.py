"""What a description is made of: controls, parts, and the arrays that they show."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from vsnn_lab.figures import style
from vsnn_lab.figures.seeds import Points, seed_means
from vsnn_lab.measure.ablation import WidthSweep

Texts = str | Sequence[str]


def log2_positions(steps: int) -> list[int]:
    """Return widths evenly spaced in log2, an eighth of an octave apart where that is a new one.

    Example:
        >>> log2_positions(32)
        [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16, 17, 19, 21, 23, 25, 27, 29, 32]
    """
    octaves = (steps - 1).bit_length()
    near = {round(2 ** (eighth / 8)) for eighth in range(8 * octaves + 1)}
    return sorted(width for width in near | {steps} if width <= steps)


def widths_that_fit(size: int, steps: int, most: int, always: Iterable[int] = ()) -> list[int]:
    """Return the widths whose data fit: all, or those of the log2 scale, every second and so on.

    Args:
        size: Bytes of a width.
        steps: Widths there are.
        most: Bytes of all of them together.
        always: Widths that stay, beside the first and the last.
    """
    ends = {1, steps, *always}
    chosen, stops = list(range(1, steps + 1)), log2_positions(steps)
    while size * len(chosen) > most and set(chosen) != ends:
        chosen = sorted({*stops, *ends})
        stops = stops[::2] if len(stops) > 1 else []
    return chosen


def nearest_places(widths: Sequence[int], wanted: Iterable[int]) -> list[int]:
    """Return where those of ``widths`` stand that are nearest to the wanted ones, ascending."""
    found = np.abs(np.subtract.outer(np.array(list(wanted)), widths)).argmin(1)
    return sorted({*found.tolist()})


def array(values: np.ndarray, *by: str) -> dict[str, Any]:
    """Return an array as it travels: bytes, and the axes of controls that its leading ones are."""
    kind = {"f": "float32"}.get(values.dtype.kind, values.dtype.name)
    data = np.ascontiguousarray(values, kind)
    return {"dtype": kind, "shape": list(data.shape), "by": list(by), "data": data.tobytes()}


def counts(values: np.ndarray, *by: str) -> dict[str, Any]:
    """Return an array of counts in as few bytes as they take."""
    return array(values.astype(np.min_scalar_type(int(values.max(initial=0)))), *by)


def width_control(
    name: str, label: str, widths: Sequence[int], steps: int, axis: str = "width"
) -> dict[str, Any]:
    """Return a width slider over some widths of a knob of ``steps`` positions."""
    stops = {"values": list(widths), "log2": nearest_places(widths, log2_positions(steps))}
    return {"type": "width", "name": name, "label": label, "axis": axis, "of": steps} | stops


def tile(name: str, values: Texts, notes: Texts = "") -> dict[str, Any]:
    """Return a number of the line of read-outs: a text for each position, or one for all."""
    return {"name": name, "values": values, "notes": notes}


def count_tile(name: str, found: Sequence[int]) -> dict[str, Any]:
    """Return a tile of what each position counts, with its share of the last one's."""
    shares = [f"{count / found[-1]:.1%} of full width" for count in found]
    return tile(name, [f"{count:,}" for count in found], shares)


def tiles(items: Sequence[Mapping[str, Any]], by: str = "width") -> dict[str, Any]:
    """Return the line of read-outs."""
    return {"type": "tiles", "by": by, "items": list(items)}


def curve(
    sweep: WidthSweep,
    label: str,
    top: float,
    *,
    bottom: float = 0.0,
    scale: float = 1.0,
    dedicated: Points | None = None,
    plain: float | None = None,
    pca: Mapping[int, float] | None = None,
    by: str | None = "width",
) -> dict[str, Any]:
    """Return the curve of a metric over width, with what it should be compared to.

    Args:
        sweep: The variable network's metric; its curve is the array ``curve``.
        label: Name and unit on the axis.
        top: Upper end of the axis.
        bottom: Its lower end.
        scale: Factor on all values.
        dedicated: Metric of networks of one width, one or several values each.
        plain: Metric of a plain network, a level.
        pca: Metric of principal components, by their number.
        by: The control that the marker follows.
    """
    own = series(style.VARIABLE, sweep.widths.tolist(), "curve") | {"follow": True}
    lines = [own]
    if plain is not None:
        lines.append(series(style.PLAIN) | {"level": plain * scale})
    if dedicated:
        means = list(seed_means(dedicated, scale).values())
        ends = [(min(values) * scale, max(values) * scale) for values in dedicated.values()]
        whiskers = {"points": True, "low": [e[0] for e in ends], "high": [e[1] for e in ends]}
        lines.append(series(style.DEDICATED, list(dedicated), means) | whiskers)
    if pca:
        lines.append(series(style.PCA, list(pca), [value * scale for value in pca.values()]))
    return curves(lines, sweep.steps, label, [bottom, top], by)


def curves(
    lines: Sequence[Mapping[str, Any]],
    steps: int,
    label: str | None,
    ends: Sequence[float],
    by: str | None = "width",
) -> dict[str, Any]:
    """Return curves over widths of 1..steps, from `series`, on a log2 axis."""
    low, high = style.log2_range(steps)
    x = {"label": "width (units kept)", "scale": "log2", "range": [low, high]}
    ticks = {"ticks": style.log2_ticks(steps)}
    y = {"label": label or "", "range": list(ends)}
    return {"type": "curve", "by": by, "x": x | ticks, "y": y, "series": list(lines)}


def series(
    look: style.Style, x: Sequence[int] = (), y: Sequence[float] | str = ()
) -> dict[str, Any]:
    """Return one curve in a network's look; ``y`` may name an array."""
    shown = {"name": look.name, "color": look.color, "symbol": look.symbol, "dash": look.dash}
    return shown | {"x": list(x), "y": y if isinstance(y, str) else list(y)}
