"""Results of many tops: made, kept, tracked, and summed up beside their targets."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from vsnn_lab.train.by_position import collect_by_position
from vsnn_lab.train.kept_runs import Result, RunCollection
from vsnn_lab.train.savings import narrowest_within

TOP = RunCollection("top", ("settings", "method", "seed"))
results_folder, tracked_results, track_results = TOP.folder, TOP.tracked, TOP.track
TARGET = 1.0  # points that the smallest top may lose beside the full one
LOSSES = (0.5, 1.0)  # points for which the share of parameters is told that can go


def by_position(
    results: Iterable[Result], method: str, column: str = "accuracy"
) -> dict[int, list[float]]:
    """Return a measured column of a method by knob position, one number a seed.

    Args:
        results: Of one setup.
        method: One of ``METHODS``.
        column: "accuracy", "parameters", "macs" or "latency_ms".
    """
    return collect_by_position(result[column] for result in results if result["method"] == method)


def summary(results: Sequence[Result]) -> list[str]:
    """Return lines with the whole curve, and each target beside its figure."""
    lines = [f"{method}: {_spread(values)}" for method, values in _alone(results).items()]
    accuracies = by_position(results, "variable")
    if not accuracies:
        return lines
    columns = {name: by_position(results, "variable", name) for name in ("parameters", "macs")}
    times = by_position(results, "variable", "latency_ms")
    means = {position: fmean(values) for position, values in accuracies.items()}
    full = max(means)
    for position, values in accuracies.items():
        shares = ", ".join(
            f"{100 * each[position][0] / each[full][0]:.3g} % of {name}"
            for name, each in columns.items()
        )
        line = f"variable {position} of {full}: {_spread(values)}; {shares}"
        line += f"; {fmean(times[position]):.3g} ms"
        alone = by_position(results, f"dedicated-{position}") if position < full else {}
        if alone:
            line += f"; alone {_spread(alone[1])}, {100 * (means[position] - fmean(alone[1])):+.2f}"
        lines.append(line)
    lines += _targets(results, means, columns["parameters"])
    return lines


def _targets(
    results: Sequence[Result], means: Mapping[int, float], parameters: Mapping[int, Sequence[float]]
) -> list[str]:
    full, least = max(means), min(means)
    lines = []
    plain = by_position(results, "plain")
    if plain:
        gap = 100 * (means[full] - fmean(plain[1]))
        lines.append(
            f"full width beside the plain top: {gap:+.2f} points (at least {-TARGET:+.1f})"
        )
    gap = 100 * (means[least] - means[full])
    lines.append(
        f"position {least} beside full width: {gap:+.2f} points (at least {-TARGET:+.1f}), without "
        f"{_saved(parameters, least)} of the top's parameters"
    )
    for points in LOSSES:
        position = narrowest_within(means, means[full], points)
        assert position is not None  # Full width loses nothing.
        lines.append(
            f"at most {points} points lost: position {position}, without "
            f"{_saved(parameters, position)} of the top's parameters"
        )
    return lines


def _saved(parameters: Mapping[int, Sequence[float]], position: int) -> str:
    return f"{100 * (1 - parameters[position][0] / parameters[max(parameters)][0]):.2f} %"


def _alone(results: Iterable[Result]) -> dict[str, list[float]]:
    """Return accuracies of the tops of one size that no line of a curve has beside it."""
    found: dict[str, list[float]] = {}
    for result in results:
        if result["method"] in ("plain", "linear"):
            found.setdefault(result["method"], []).append(result["accuracy"]["1"])
    return found


def _spread(values: Sequence[float]) -> str:
    mean, least, most = (100 * each for each in (fmean(values), min(values), max(values)))
    return f"{mean:.2f} % ({least:.2f} to {most:.2f}, {len(values)} seeds)"
