"""What a VGG is worth at every position: accuracy by three kinds of statistics, and its costs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from vsnn_lab.layers.octaves import octave_of, octave_tops
from vsnn_lab.measure import count_macs, count_parameters, measure_latency, recalibrate
from vsnn_lab.measure.ablation import mean_metric
from vsnn_lab.measure.costs import count_macs_by_width
from vsnn_lab.measure.metrics import accuracy
from vsnn_lab.networks.extraction import cut_positions
from vsnn_lab.train.vgg.images import Pair
from vsnn_lab.train.vgg.network import STEPS
from vsnn_lab.widths import WidthControl, at_width

# What the batch norms of a width are evaluated by: what training left, for all widths together;
# one set for each octave of positions, measured at its widest; or measured at the width itself.
STATISTICS = ("as trained", "of its octave", "recalibrated")
CHOSEN = "recalibrated"  # on validation images far better than as trained, at every narrow width
TIMED = (4, 8, 16, 32)  # positions whose forward is timed
_TIMED_BATCH, _CALIBRATION_BATCH = 128, 500
Positions = int | Mapping[WidthControl, int] | None


def width_accuracies(
    model: nn.Module, data: Pair, calibration: Tensor, position: int | None = None
) -> dict[str, Any]:
    """Return the accuracy by position, for each kind of statistics and for the chosen one.

    The model keeps the statistics that it has.

    Args:
        model: A VGG with one knob, or a plain one.
        data: Images as the network takes them, and their classes.
        calibration: Images that statistics are measured on, none of them from ``data``.
        position: The one whose size a plain network has.
    """
    found: dict[str, dict[str, float]] = {kind: {} for kind in STATISTICS}
    widths: dict[int, Positions] = {each: each for each in range(1, STEPS + 1)}
    if position is not None:
        widths = {position: None}
        del found["of its octave"]
    for each, width in widths.items():
        found["as trained"][str(each)] = accuracy_at(model, width, data)
        found["recalibrated"][str(each)] = accuracy_recalibrated(model, width, data, calibration)
    for top, positions in _octaves().items() if position is None else ():
        with recalibrated(model, top, calibration):
            for each in positions:
                found["of its octave"][str(each)] = accuracy_at(model, each, data)
    return {"statistics": found, "accuracy": found[CHOSEN]}


def _octaves() -> dict[int, list[int]]:
    """Return the positions of each octave by its widest; full width is one of its own."""
    tops = octave_tops(STEPS)
    found: dict[int, list[int]] = {top: [] for top in tops} | {STEPS: [STEPS]}
    for position in range(1, STEPS):
        found[tops[octave_of(position)]].append(position)
    return found


def accuracy_at(model: nn.Module, width: Positions, data: Pair) -> float:
    """Return the accuracy at a width with the statistics that the model has; None is full width."""
    setting = at_width(model, cut_positions(model, {} if width is None else width))
    return round(float(mean_metric(model, accuracy, data, [setting], progress=False)[0]), 5)


def accuracy_recalibrated(
    model: nn.Module, width: Positions, data: Pair, calibration: Tensor
) -> float:
    """Return the accuracy at a width with statistics measured there."""
    with recalibrated(model, width, calibration):
        return accuracy_at(model, width, data)


@contextmanager
def recalibrated(model: nn.Module, width: Positions, calibration: Tensor) -> Iterator[None]:
    """Give a model's batch norms the statistics of a width, for a while; None is full width."""
    before = {name: value.clone() for name, value in model.named_buffers()}
    recalibrate(model, calibration.split(_CALIBRATION_BATCH), {} if width is None else width)
    try:
        yield
    finally:
        for name, value in model.named_buffers():
            value.copy_(before[name])


def costs_by_position(
    model: nn.Module, image: Tensor, position: int | None = None
) -> dict[str, dict[str, int]]:
    """Return parameters and multiply-accumulates by position.

    Args:
        model: A VGG with one knob, or a plain one.
        image: An input, shape (1, channels, height, width).
        position: The one whose size a plain network has.
    """
    if position is not None:
        counts = count_parameters(model), count_macs(model, None, image)
        return {
            name: {str(position): n} for name, n in zip(("parameters", "macs"), counts, strict=True)
        }
    positions = range(1, STEPS + 1)
    macs = count_macs_by_width(model, positions, image, progress=False)
    return {
        "parameters": {str(each): count_parameters(model, each) for each in positions},
        "macs": dict(zip(map(str, positions), macs, strict=True)),
    }


def latency_by_position(model: nn.Module, images: Tensor) -> dict[str, float]:
    """Return the median time of a forward of the cut at some positions, in ms on one thread."""
    batch = images[:_TIMED_BATCH]
    return {
        str(position): round(measure_latency(model, position, batch, threads=1).median_ms, 3)
        for position in TIMED
    }
