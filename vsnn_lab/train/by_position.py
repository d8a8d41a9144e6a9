"""What is measured at each position of a knob: which ones, how, and how results hold it."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from torch import Tensor, nn

from vsnn_lab.measure.ablation import Metric, mean_metric
from vsnn_lab.measure.costs import count_macs, count_parameters, measure_latency
from vsnn_lab.measure.evaluation import Batches
from vsnn_lab.train.kept_runs import measuring_device
from vsnn_lab.widths import at_width


def measured_positions(steps: int) -> list[int]:
    """Return the knob positions of a curve: powers of two, one between any two, and all of it.

    Example:
        >>> measured_positions(16)
        [1, 2, 3, 4, 6, 8, 12, 16]
    """
    powers = [2**power for power in range(steps.bit_length())]
    return sorted({each for each in [*powers, *(3 * p for p in powers)] if each < steps} | {steps})


def measure_by_position(
    model: nn.Module,
    metric: tuple[str, Metric],
    data: Batches | tuple[Tensor, Tensor],
    turns: Mapping[int, int | None],
    timed: Tensor,
    repeats: int = 50,
) -> dict[str, dict[str, Any]]:
    """Return a metric and what it costs, by position; the model ends on the CPU.

    Args:
        model: A trained network, of every width or of one.
        metric: What a result calls it, and the function, as in `width_sweep`.
        data: Inputs and targets, as in `width_sweep`.
        turns: By the position that a result tells, where the knob is turned to; None is the whole
            of a network of one size.
        timed: Inputs whose forward is timed on one thread; products are counted of the first.
        repeats: Forwards to time.
    """
    name, function = metric
    model.to(measuring_device())
    settings = [nullcontext() if turn is None else at_width(model, turn) for turn in turns.values()]
    values = mean_metric(model, function, data, settings, progress=False).tolist()
    model.to("cpu")
    columns = {
        name: [round(value, 7) for value in values],
        "parameters": [count_parameters(model, turn) for turn in turns.values()],
        "macs": [count_macs(model, turn, timed) for turn in turns.values()],
        "latency_ms": [
            round(measure_latency(model, turn, timed, repeats=repeats, threads=1).median_ms, 4)
            for turn in turns.values()
        ],
    }
    return by_position([*turns], columns)


def by_position(
    positions: Iterable[int], columns: Mapping[str, Sequence[Any]]
) -> dict[str, dict[str, Any]]:
    """Return columns as a result holds them: values by position, which JSON writes as text.

    Example:
        >>> by_position([1, 2], {"accuracy": [0.5, 0.75]})
        {'accuracy': {'1': 0.5, '2': 0.75}}
    """
    keys = [*map(str, positions)]
    return {name: dict(zip(keys, column, strict=True)) for name, column in columns.items()}


def collect_by_position(columns: Iterable[Mapping[str, Any]]) -> dict[int, list[Any]]:
    """Return the values of a column of several results by position, in ascending order.

    Args:
        columns: Of each result, as `by_position` makes it.

    Example:
        >>> collect_by_position([{"2": 0.75, "1": 0.5}, {"2": 0.7}])
        {1: [0.5], 2: [0.75, 0.7]}
    """
    found: dict[int, list[Any]] = {}
    for column in columns:
        for position, value in column.items():
            found.setdefault(int(position), []).append(value)
    return dict(sorted(found.items()))
