"""What a policy earns and costs at each width, as a curve and as read-outs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from vsnn_lab.explore.parts import count_tile, curves, series, tile
from vsnn_lab.figures.returns import LOOKS
from vsnn_lab.figures.seeds import Points, seed_means
from vsnn_lab.measure.costs import count_parameters, measure_latency

if TYPE_CHECKING:
    from vsnn_lab.train.policies import TrainedPolicy

_LEVELS = ("ordinary", "linear")


def return_curve(returns: Points, beside: Mapping[str, Points], steps: int) -> dict[str, Any]:
    """Return the returns by width: means of seeds, whiskers from the least to the most.

    Args:
        returns: Of the variable policy.
        beside: Of ``dedicated`` policies by width; a level, of ``ordinary`` and ``linear`` ones, is
            that of any width.
        steps: Of the knob.
    """
    shown = {"variable": returns} | {name: points for name, points in beside.items() if points}
    lines = []
    for name, points in shown.items():
        means = seed_means(points)
        if name in _LEVELS:
            lines.append(series(LOOKS[name]) | {"level": max(means.values())})
            continue
        ends = {"low": [*map(min, points.values())], "high": [*map(max, points.values())]}
        kind = {"follow": True} if name == "variable" else {"points": True}
        lines.append(series(LOOKS[name], [*points], [*means.values()]) | ends | kind)
    every = [each for points in shown.values() for values in points.values() for each in values]
    top = 1.08 * max(0.0, *every) or float(max(every) == 0)
    return curves(lines, steps, "return of an episode", [1.08 * min(0.0, *every), top])


def return_tiles(returns: Points, steps: int, source: str) -> list[dict[str, Any]]:
    """Return what the read-outs say of returns, by width; ``source`` of those of one number."""
    means = list(seed_means(returns).values())
    digits = 0 if max(map(abs, means)) >= 100 else 2
    full, lost = means[-1], "\N{EN DASH}"
    spreads = [
        f"{len(each)} seeds, {min(each):,.{digits}f} to {max(each):,.{digits}f}"
        if len(each) > 1
        else source
        for each in returns.values()
    ]
    # Of a loss there are no shares.
    shares = [f"{mean / full:.0%}" if full > 0 else lost for mean in means]
    return [
        tile("width", [f"{width}" for width in returns], f"of {steps}"),
        tile("return", [f"{mean:,.{digits}f}" for mean in means], spreads),
        tile("of the full return", shares, f"full: {full:,.{digits}f}"),
    ]


def actor_tiles(trained: "TrainedPolicy", widths: Sequence[int]) -> list[dict[str, Any]]:
    """Return what the read-outs say of the actor's size and speed at each width."""
    actors = [trained.policy.actor_at(width) for width in widths]
    sizes, times = [count_parameters(actor) for actor in actors], []
    for actor in actors:
        first: Any = actor[0]
        inputs = torch.zeros(1, first.in_features)
        times.append(1000 * measure_latency(actor, None, inputs, threads=1).median_ms)
    return [
        count_tile("parameters", sizes),
        tile("µs an action", [f"{time:.0f}" for time in times], "the actor, one thread"),
    ]
