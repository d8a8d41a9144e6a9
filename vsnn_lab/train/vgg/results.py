"""Results of many trainings of VGGs: made, kept, tracked, and read by position."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean

from torch import nn

from vsnn_lab._basics import checkpoints
from vsnn_lab.train.by_position import collect_by_position
from vsnn_lab.train.kept_runs import Result, RunCollection
from vsnn_lab.train.savings import narrowest_within, share_that_can_go
from vsnn_lab.train.vgg.experiment import Run
from vsnn_lab.train.vgg.measuring import CHOSEN
from vsnn_lab.train.vgg.methods import METHODS, untrained
from vsnn_lab.train.vgg.network import STEPS

# How many points the variable network may lose: to the plain one, and to each dedicated one.
MOST_LOST_FULL, MOST_LOST_BELOW = 0.3, 0.5
# Of the parameters, what may be left where one point is lost.
MOST_LEFT = 0.25
_LOSSES = (0.5, 1.0)  # points

VGG = RunCollection("vgg", ("epochs", "images", "method", "seed"))
results_folder, keep_runs = VGG.folder, VGG.keep
tracked_results, track_results = VGG.tracked, VGG.track


def trained(run: Run, folder: Path | None = None) -> nn.Module:
    """Return the network that a run left, in evaluation mode; it is trained first if none is there.

    Args:
        run: What is asked for.
        folder: Where runs are kept.
    """
    folder = folder or results_folder()
    run.keep(folder)
    model = untrained(run.method, run.seed)
    weights, _ = checkpoints.read(run.model_file(folder))
    model.load_state_dict(weights)
    return model.eval()


def accuracy_by_width(
    results: Iterable[Result], method: str, statistics: str = CHOSEN
) -> dict[int, list[float]]:
    """Return test accuracies by position, one a seed.

    Args:
        results: Of the same epochs and images.
        method: One of ``METHODS`` with one knob or none, or "dedicated" for all networks of one
            size, of which the plain one is the widest.
        statistics: What batch norms are evaluated by: "as trained", "of its octave" (but for
            networks of one size) or "recalibrated".
    """
    return collect_by_position(
        result["statistics"][statistics]
        for result in results
        if result["method"] == method
        or (method == "dedicated" and METHODS[result["method"]].position is not None)
    )


def parameters_that_can_go(results: Sequence[Result], method: str, lost: float) -> float:
    """Return the share of the parameters that can go while at most so many points are lost.

    Accuracies are means over seeds, and what is lost is counted from the plain network's.

    Args:
        results: Of the same epochs and images, those of ``method`` and "plain" among them.
        method: One of ``METHODS`` with one knob.
        lost: At most so many points.
    """
    by_position, reference = _means(results, method), _means(results, "plain")[STEPS]
    return share_that_can_go(by_position, _parameters(results, method), reference, lost)


def _means(results: Iterable[Result], method: str, statistics: str = CHOSEN) -> dict[int, float]:
    found = accuracy_by_width(results, method, statistics)
    return {position: fmean(values) for position, values in found.items()}


def _parameters(results: Iterable[Result], method: str) -> dict[int, int]:
    found = next(each for each in results if each["method"] == method)
    return {int(position): count for position, count in found["parameters"].items()}


def summary(results: Sequence[Result]) -> list[str]:
    """Return lines that say how the networks stand beside each other, and the targets."""
    methods = [each["method"] for each in results]
    lines = []
    for method in ("variable", "ordered"):
        if method in methods:
            lines += _widths(results, method) + _savings(results, method)
            lines += [_statistics(results, method), _cost(results, method)]
            lines += _latencies(results, method)
    layers = [each["layer_widths"] for each in results if each["method"] == "layers"]
    for position in layers[0] if layers else ():
        chosen, uniform = (
            100 * fmean(each[position][kind] for each in layers) for kind in ("chosen", "uniform")
        )
        lines.append(
            f"layers, as large as all at {position}: searched widths {chosen:.2f} %, uniform "
            f"{uniform:.2f} %, {len(layers)} seeds"
        )
    return lines


def _widths(results: Sequence[Result], method: str) -> list[str]:
    variable, alone = accuracy_by_width(results, method), accuracy_by_width(results, "dedicated")
    lines = []
    for position in sorted({*alone, STEPS}):
        values = variable[position]
        text = f"{method} {position}: {100 * fmean(values):.2f} %, {len(values)} seeds"
        if position in alone:
            beside = fmean(alone[position])
            lost = 100 * (beside - fmean(values))
            most = MOST_LOST_FULL if position == STEPS else MOST_LOST_BELOW
            text += f"; alone {100 * beside:.2f} %, {-lost:+.2f} points (at least {-most:+.1f}"
            text += ")" if lost <= most else "; missed)"
        lines.append(text)
    return lines


def _savings(results: Sequence[Result], method: str) -> list[str]:
    reference = _means(results, "plain").get(STEPS)
    if reference is None:
        return []
    lines = []
    for lost in _LOSSES:
        position = narrowest_within(_means(results, method), reference, lost)
        text = f"{method}: no width loses at most {lost} points"
        if position is not None:
            left = 1 - parameters_that_can_go(results, method, lost)
            text = f"{method}: from {position} on at most {lost} points lost, "
            text += f"with {100 * left:.1f} % of the parameters"
            if lost == 1:
                text += f" (at most {100 * MOST_LEFT:.0f} %"
                text += ")" if left <= MOST_LEFT else "; missed)"
        lines.append(text)
    return lines


def _statistics(results: Sequence[Result], method: str) -> str:
    kinds = next(each["statistics"] for each in results if each["method"] == method)
    # Below an eighth of the knob networks are too small to compare anything by.
    shown = ", ".join(
        f"{kind} {100 * fmean(by[at] for at in by if at >= STEPS // 8):.2f} %"
        for kind in kinds
        for by in [_means(results, method, kind)]
    )
    return f"{method}: mean accuracy from {STEPS // 8} on, statistics {shown}"


def _cost(results: Sequence[Result], method: str) -> str:
    kept = next(each for each in results if each["method"] == method)
    text = f"{method}: {kept['parameters_kept'] / kept['parameters'][str(STEPS)]:.2f} times the"
    text += " weights of full width kept"
    # Of a training that was resumed they are not known.
    seconds, plain = (
        [each["seconds"] for each in results if each["method"] == name and each["seconds"]]
        for name in (method, "plain")
    )
    if seconds:
        device = "" if kept["device"] == "CPU" else f" beside {kept['device']}"
        text += f", trained in {fmean(seconds):.0f} s of one core{device}"
        text += f", {fmean(seconds) / fmean(plain):.2f} times plain" if plain else ""
    return text


def _latencies(results: Sequence[Result], method: str) -> list[str]:
    found = [each for each in results if each["method"] == method and "latency_ms" in each]
    lines = []
    for position in found[0]["latency_ms"] if found else ():
        if position == str(STEPS):
            continue
        time, work = (
            fmean(each[kind][position] / each[kind][str(STEPS)] for each in found)
            for kind in ("latency_ms", "macs")
        )
        lines.append(
            f"{method} {position}: cut, it takes {100 * time:.0f} % of the time of full width for "
            f"{100 * work:.0f} % of the multiplications"
        )
    return lines
