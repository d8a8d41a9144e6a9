"""The code width that an error demands: the error curve read the other way round."""

import plotly.graph_objects as go

from vsnn_lab._basics.checks import check_number
from vsnn_lab.figures import style
from vsnn_lab.figures.comparison import ERROR_LABEL, LEGEND_ABOVE
from vsnn_lab.figures.labels import check_label
from vsnn_lab.figures.seeds import METHODS, Curves, Seeds, check_errors, check_methods, seed_means

_BEYOND = 1.05  # of the largest error, to where the steps run on


def fewest_units(curve: Seeds, error: float) -> int | None:
    """Return the fewest units whose mean error is at most ``error``, or None if none reach it.

    Args:
        curve: Error by width, one number or one a seed.
        error: The error allowed, in the curve's unit.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If there is no width, or an error is negative.

    Example:
        >>> fewest_units({1: 0.06, 2: 0.04, 4: 0.03}, 0.04)
        2
    """
    error = check_number("error", error, 0)
    reached = (w for w, mean in seed_means(check_errors("curve", curve)).items() if mean <= error)
    return next(reached, None)


def width_needed(
    curves: Curves,
    *,
    scale: float = 1000.0,
    label: str = ERROR_LABEL,
    title: str | None = None,
) -> go.Figure:
    """Draw the fewest code units that each method needs for an error: an intrinsic dimension.

    A step line for each method, through the mean over seeds. It stands at widths that were
    measured, so that a method known at few of them needs at most what is drawn.

    Args:
        curves: As in `comparison_curves`.
        scale: Factor on all errors.
        label: Name and unit of the error on the axis.
        title: Above the figure.

    Returns:
        A figure of 840 by 420 pixels.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If a method is unknown, or an error is negative.
    """
    methods = check_methods("curves", curves)
    scale, title = check_number("scale", scale, 0), check_label("title", title)
    errors = {method: seed_means(points, scale) for method, points in methods.items()}
    edge = _BEYOND * max(max(curve.values()) for curve in errors.values())
    figure = go.Figure()
    for method, curve in errors.items():
        look = METHODS[method]
        steps: list[tuple[float, int]] = []  # errors descending; no better, no step
        for width, error in curve.items():
            if not steps or error < steps[-1][0]:
                steps.append((error, width))
        steps.reverse()
        # The last point only carries the line to the edge. It is hidden by its colour: of opacities
        # the legend would take the mean.
        colors = [look.color] * len(steps) + [style.TRANSPARENT]
        figure.add_scatter(
            x=[error for error, _ in steps] + [edge],
            y=[width for _, width in steps] + [steps[-1][1]],
            name=look.name,
            mode="lines+markers",
            line=look.line | {"shape": "hv"},
            marker=look.marker | {"size": 7, "color": colors},
            hovertemplate="%{x:.3~g} or less: %{y} units",
        )
    most = max(max(curve) for curve in errors.values())
    figure.update_layout(template=style.TEMPLATE, width=style.PAGE, height=420, title=title)
    figure.update_layout(legend=LEGEND_ABOVE, margin_t=76 if title else 44)
    figure.update_xaxes(range=[0, edge], title=f"{check_label('label', label) or ''}, at most")
    figure.update_yaxes(style.log2_axis(most, "fewest code units that reach it"))
    return figure
