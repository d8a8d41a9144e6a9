"""Ablate: evaluate one trained network at reduced widths, weights unchanged."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from operator import length_hint
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn
from tqdm.auto import tqdm

from vsnn_lab._basics.checks import (
    check_callable,
    check_choice,
    check_flag,
    check_int,
    check_pair,
    check_returned,
    short_repr,
)
from vsnn_lab.measure.costs import (
    REPEATS,
    check_inputs,
    check_threads,
    count_macs_by_width,
    count_parameters,
    measure_latency,
)
from vsnn_lab.measure.evaluation import Batches, as_batches, evaluation_mode, to_device_of
from vsnn_lab.measure.swept_widths import check_swept, turns_of
from vsnn_lab.networks.gate import private_copy
from vsnn_lab.networks.trunk import outputs_by_width
from vsnn_lab.widths import (
    WidthControl,
    at_width,
    check_controls,
    most_steps,
)

if TYPE_CHECKING:
    import pandas as pd

Metric = Callable[[Tensor, Tensor], Tensor]

# Each kind of cost, and how a sweep comes to hold it.
_COSTS = {
    "parameters": "counts them",
    "macs": "counts them",
    "latency_ms": "measures it with timed=a batch of inputs",
}


@dataclass(frozen=True)
class WidthSweep:
    """A metric at each width, and what each width costs.

    Attributes:
        metric: The metric's name.
        widths: Knob positions, shape (n,), ascending; joint ones where there are several knobs. Of
            a sweep over dicts these dicts, with a position for every knob, in the order given.
        values: Mean of the metric over all samples, shape (n,), float64.
        steps: Positions of the knob, or of all knobs together; a width over it is the share of the
            network.
        parameters: Of each submodel, shape (n,), or None where nobody counted; so for the others.
        macs: Multiply-accumulates per sample.
        latency_ms: Median time of a forward, in milliseconds.
    """

    metric: str
    widths: np.ndarray
    values: np.ndarray
    steps: int
    parameters: np.ndarray | None = None
    macs: np.ndarray | None = None
    latency_ms: np.ndarray | None = None

    @property
    def fractions(self) -> np.ndarray:
        """Widths as shares of the full one, in (0, 1]."""
        self.check_ordered()
        return self.widths / self.steps

    @property
    def is_ordered(self) -> bool:
        """Whether widths are numbers, of which one is narrower than the other."""
        return self.widths.dtype != object

    def check_ordered(self) -> None:
        """Refuse a sweep over dicts, whose widths lie along no single axis."""
        if not self.is_ordered:
            raise ValueError(
                "sweep must be over positions of one slider, got one over "
                f"{len(self.widths)} dicts; width_sweep(..., widths=None) turns all knobs together"
            )

    def at(self, width: int | Mapping[WidthControl, int]) -> float:
        """Return the metric at one of the widths swept.

        Raises:
            ValueError: If that width was not swept.
        """
        return float(self.values[self._row(width)])

    def cost(self, kind: str, width: int | Mapping[WidthControl, int]) -> float:
        """Return what one of the widths swept costs.

        Args:
            kind: "parameters", "macs" or "latency_ms".
            width: Knob position, or those of several knobs.

        Raises:
            ValueError: If that width was not swept, or that cost not measured.
        """
        costs = getattr(self, check_choice("kind", kind, _COSTS))
        if costs is None:
            raise ValueError(f"sweep must hold {kind}, got none; width_sweep {_COSTS[kind]}")
        return costs[self._row(width)].item()

    def to_frame(self) -> "pd.DataFrame":
        """Return a pandas frame with one row a width: width, fraction, metric and known costs."""
        import pandas as pd

        costs = {kind: costs for kind in _COSTS if (costs := getattr(self, kind)) is not None}
        columns = {"width": self.widths}
        if self.is_ordered:
            columns["fraction"] = self.fractions
        return pd.DataFrame(columns | {self.metric: self.values} | costs)

    def _row(self, width: int | Mapping[WidthControl, int]) -> int:
        if isinstance(width, Mapping):
            # Knobs that a dict leaves out are at full width.
            full = {} if self.is_ordered else {each: each.steps for each in self.widths[0]}
            found = [row for row, swept in enumerate(self.widths) if swept == full | dict(width)]
        else:
            width = check_int("width", width)
            found = np.flatnonzero(self.widths == width).tolist()
        if not found:
            swept = np.array2string(self.widths, threshold=10)
            raise ValueError(f"width must be one of those swept, got {short_repr(width)}: {swept}")
        return found[0]


def width_sweep(
    model: nn.Module,
    metric: Metric,
    batches: Batches | tuple[Tensor, Tensor],
    widths: Iterable[int]
    | Iterable[Mapping[WidthControl, int]]
    | Tensor
    | np.ndarray
    | None = None,
    *,
    timed: Tensor | None = None,
    threads: int | None = None,
    repeats: int | None = None,
    progress: bool = True,
) -> WidthSweep:
    """Measure a network at each width, with its weights as they are, and count what it costs.

    The model runs in evaluation mode and without gradients, and is put back as it was.

    Args:
        model: A module with one knob, or with several.
        metric: Mean of a quantity over a batch, ``metric(output, target) -> scalar``.
        batches: A pair of tensors (inputs, targets) of equal length, or an iterable of such
            pairs; it is read once.
        widths: Knob positions to measure: integers, a vector of them too; by default all. With
            several knobs integers are joint positions, at which all of them keep the same share,
            see `joint_positions`. Dicts from knobs to positions measure those; knobs that one
            leaves out are at full width.
        timed: Inputs, shape (batch, ...), whose forward is timed at each width by
            `measure_latency`; by default nothing is timed.
        threads: Threads of torch on the CPU that it is timed with; by default as many as now.
        repeats: Forwards to time at each width; by default 50.
        progress: Show a bar if it takes more than two seconds.

    Raises:
        TypeError: If ``metric`` is not callable, or ``widths`` are not integers.
        ValueError: If a width lies outside the range, ``widths`` is a matrix, or there is nothing
            to measure.

    Example:
        >>> import torch
        >>> from vsnn_lab import MLP, Width
        >>> net = MLP(3, (Width(8),), 2)
        >>> x, y = torch.ones(5, 3), torch.zeros(5, 2)
        >>> width_sweep(net, nn.functional.mse_loss, (x, y), widths=[1, 4, 8]).widths
        array([1, 4, 8])
    """
    controls = check_controls(model)
    steps = most_steps(controls)
    wanted = check_swept(model, range(1, steps + 1) if widths is None else widths)
    turns = turns_of(controls, wanted)
    check_callable("metric", metric, "callable on (output, target)")
    check_flag("progress", progress)
    if timed is not None:
        check_inputs(timed, "timed")
    if threads is not None:
        check_threads(threads)
    if repeats is not None:
        check_int("repeats", repeats)
    for name, given in (("threads", threads), ("repeats", repeats)):
        if given is not None and timed is None:
            raise ValueError(
                f"{name} must be None where nothing is timed, got {given}; timed=a batch of inputs "
                "times it"
            )
    first: list[Tensor] = []

    def outputs(x: Tensor) -> Iterator[Tensor]:
        if not first:
            first.append(x[:1].clone())
        if isinstance(wanted[0], int):
            return outputs_by_width(model, x, wanted)
        return _outputs_under([at_width(model, turn) for turn in turns], model, x)

    values = _means(model, metric, as_batches(batches), outputs, len(wanted), progress)
    name = getattr(metric, "__name__", type(metric).__name__)
    costs: dict[str, list[int] | list[float]] = {
        "parameters": [count_parameters(model, turn) for turn in turns],
        "macs": count_macs_by_width(model, turns, first[0], progress=progress),
    }
    if timed is not None:
        bar = tqdm(turns, desc="latency", delay=2, disable=not progress)
        times = repeats or REPEATS
        costs["latency_ms"] = [
            measure_latency(model, turn, timed, repeats=times, threads=threads).median_ms
            for turn in bar
        ]
    arrays = {kind: np.array(cost) for kind, cost in costs.items()}
    swept = np.empty(len(wanted), dtype=int if isinstance(wanted[0], int) else object)
    swept[:] = wanted
    return WidthSweep(name, swept, values, steps, **arrays)


def mean_metric(
    model: nn.Module,
    metric: Metric,
    batches: Batches | tuple[Tensor, Tensor],
    settings: Sequence[AbstractContextManager[Any]],
    *,
    progress: bool = True,
) -> np.ndarray:
    """Return the mean of ``metric`` under each of ``settings``, shape (settings,).

    The data are read once; each batch runs under every setting.

    Args:
        model: Any module; it is measured in evaluation mode.
        metric: As in `width_sweep`.
        batches: As in `width_sweep`.
        settings: Context managers that can be entered again and again, such as `at_width`.
        progress: Show a bar if it takes more than two seconds.
    """

    def outputs(x: Tensor) -> Iterator[Tensor]:
        return _outputs_under(settings, model, x)

    return _means(model, metric, as_batches(batches), outputs, len(settings), progress)


def _outputs_under(
    settings: Sequence[AbstractContextManager[Any]], model: nn.Module, x: Tensor
) -> Iterator[Tensor]:
    for setting in settings:
        with setting:
            output = model(private_copy(model, x))
        yield output


def _means(
    model: nn.Module,
    metric: Metric,
    chunks: Batches,
    outputs: Callable[[Tensor], Iterator[Tensor]],
    count: int,
    progress: bool,
) -> np.ndarray:
    """Return the mean of a metric of each of ``count`` outputs that a batch's inputs give."""
    totals, samples = np.zeros(count), 0
    bar = tqdm(
        total=length_hint(chunks) * count or None, desc="widths", delay=2, disable=not progress
    )
    with evaluation_mode(model), bar:
        for batch in chunks:
            x, y = check_pair("batches", batch)
            x = to_device_of(model, x)
            y = y.to(x.device)  # in its own dtype, which a metric may be finer for
            for index, output in enumerate(outputs(x)):
                totals[index] += check_returned("metric", metric(output, y)) * len(x)
                bar.update()
            samples += len(x)
    if not samples:
        raise ValueError("batches must hold at least one sample, got none; it is read only once")
    return totals / samples
