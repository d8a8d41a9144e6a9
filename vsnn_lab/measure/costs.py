"""What a width costs: parameters, multiply-accumulates, time."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from vsnn_lab._basics.checks import check_int, check_number, short_repr
from vsnn_lab.layers import VariableLayer
from vsnn_lab.measure.products import Products, count_products, warn_of_unknown
from vsnn_lab.networks.extraction import cut_positions, extract, inner_network, plain_class
from vsnn_lab.networks.gate import private_copy, proven_chain
from vsnn_lab.networks.tensor_uses import tensor_uses
from vsnn_lab.widths import WidthControl, full_size, kept_size, single_control

Positions = int | Mapping[WidthControl, int] | None

# The first calls allocate memory and choose kernels.
_WARM_UP = 5
REPEATS = 50  # forwards that are timed unless told otherwise
# A median of fewer tells nothing.
_FEWEST = 3
# Ordinary layers, that have as many products at every width.
_CONSTANT = nn.Linear | nn.Bilinear | nn.modules.conv._ConvNd
# More than a machine has cores; torch would start as many as it is asked for.
_THREADS = 1024


def count_parameters(model: nn.Module, width: Positions = None) -> int:
    """Count the parameters of the submodel of one width, without cutting it.

    Args:
        model: Any module.
        width: As in `extract`; by default full width.

    Raises:
        TypeError: If ``width`` is not an integer.
        ValueError: If it lies outside the range.

    Example:
        >>> from vsnn_lab import MLP, Width
        >>> count_parameters(MLP(784, (Width(256),), 10), 64)
        50890
    """
    positions = cut_positions(model, {} if width is None else width)
    network = inner_network(model)
    for module in network.modules():
        plain_class(module)  # Refuses what cannot be cut.
    uses = tensor_uses(network, positions)
    # What layers share counts once.
    return sum({use.key: math.prod(use.shape) for use in uses if use.is_parameter}.values())


def count_macs(model: nn.Module, width: Positions, inputs: Tensor) -> int:
    """Count the multiply-accumulates per sample of the submodel of one width.

    Half of what torch's own counter finds in the forward of one sample: matrix products, of
    vectors and bilinear ones too, convolutions and attention. A sum of products of three numbers,
    as a bilinear layer's, counts one for each of its weights; element-wise work counts as nothing.
    A copy runs, in evaluation mode and without gradients, so the model and torch's random state
    stay as they are.

    Args:
        model: Any module.
        width: As in `extract`; None is full width.
        inputs: What the model takes, shape (batch, ...); the first sample runs, on its device.

    Raises:
        TypeError: If ``width`` is not an integer or ``inputs`` is not a tensor.
        ValueError: If ``width`` lies outside the range or ``inputs`` holds no sample.

    Warns:
        UserWarning: If the network does products that cannot be counted, those of a Fourier
            transform say; the warning names the operations.

    References:
        ``torch.utils.flop_counter.FlopCounterMode``; it counts two operations for each.

    Example:
        >>> from vsnn_lab import MLP, Width
        >>> count_macs(MLP(784, (Width(256),), 10), 64, torch.zeros(1, 784))  # 784*64 + 64*10
        50816
    """
    found = _count_products(model, width, inputs)
    warn_of_unknown(found)
    return found.total


def count_macs_by_width(
    model: nn.Module,
    widths: Sequence[int | Mapping[WidthControl, int]],
    inputs: Tensor,
    *,
    progress: bool = True,
) -> list[int]:
    """Count as `count_macs` does, at several widths.

    Where all products are those of layers, whose counts go with the size of their weights, two
    forwards tell all widths; other networks run once for each, and so does one with several knobs.
    """
    numbers = [width for width in widths if isinstance(width, int)]
    if numbers and (found := _scaled_macs(model, numbers, inputs)) is not None:
        return found
    turns: Sequence[Positions] = widths
    bar = tqdm(turns, desc="MACs", delay=2, disable=not progress)
    counts = [_count_products(model, width, inputs) for width in bar]
    warn_of_unknown(*counts)
    return [count.total for count in counts]


def _scaled_macs(model: nn.Module, widths: Sequence[int], inputs: Tensor) -> list[int] | None:
    """Return the products at several widths, from those of layers at two; None if they may differ.

    A proven chain does the same at every width, so that the rows a layer is applied to can only
    grow with it: what is alike at both ends is alike between.
    """
    control, layers = single_control(model), dict(model.named_modules())
    if proven_chain(model) is None:
        return None
    least = min(widths)
    counts = [_count_products(model, width, inputs) for width in (None, least)]
    full, narrow = (count.own for count in counts)

    def at(width: int) -> dict[str, int]:
        return {n: _macs_of_layer(count, layers[n], {control: width}) for n, count in full.items()}

    if not all(_scales(layers.get(name)) for name in full) or at(least) != narrow:
        return None
    warn_of_unknown(*counts)
    return [sum(at(width).values()) for width in widths]


def _scales(layer: nn.Module | None) -> bool:
    """Whether a layer's products go with the size of its weight."""
    if isinstance(layer, VariableLayer):
        return "weight" in layer.parameter_axes
    return isinstance(layer, _CONSTANT)


def _macs_of_layer(count: int, layer: nn.Module, positions: Mapping[WidthControl, int]) -> int:
    """Return a layer's products at a width from those at full width."""
    if not isinstance(layer, VariableLayer):
        return count
    axes = layer.parameter_axes["weight"]
    kept = math.prod(kept_size(axis, positions) for axis in axes)
    return count * kept // math.prod(map(full_size, axes))


@dataclass(frozen=True, repr=False)
class Latency:
    """Time of one forward.

    Attributes:
        median_ms: Median over the repeats, in milliseconds.
        low_ms: Lower quartile.
        high_ms: Upper quartile.
        threads: Threads of torch on the CPU.
        batch: Samples in the forward.
        device: Where it ran.

    Example:
        >>> Latency(0.42, 0.4, 0.47, threads=2, batch=1, device="cpu")
        0.42 ms (0.40 to 0.47), batch 1, 2 threads, cpu
    """

    median_ms: float
    low_ms: float
    high_ms: float
    threads: int
    batch: int
    device: str

    def __repr__(self) -> str:
        # At least two significant digits, also of a time in microseconds.
        digits = max(2, 1 - math.floor(math.log10(max(self.median_ms, 1e-6))))
        middle, low, high = (
            f"{value:.{digits}f}" for value in (self.median_ms, self.low_ms, self.high_ms)
        )
        threads = f"{self.threads} thread{'' if self.threads == 1 else 's'}"
        return f"{middle} ms ({low} to {high}), batch {self.batch}, {threads}, {self.device}"


def measure_latency(
    model: nn.Module,
    width: Positions,
    inputs: Tensor,
    *,
    repeats: int = REPEATS,
    threads: int | None = None,
    seconds: float | None = None,
) -> Latency:
    """Time forwards of the extracted network: what one takes home.

    It runs in evaluation mode, without gradients, on the device of ``inputs``. The model, torch's
    number of threads and its random state stay as they are.

    Args:
        model: Any module.
        width: As in `extract`; None is full width.
        inputs: What the model takes, shape (batch, ...); all of it is one forward.
        repeats: Forwards to time, after a few that are not.
        threads: Threads of torch on the CPU; by default as many as now.
        seconds: Time after which no further forward begins, once three are timed; by default all
            ``repeats`` are.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If ``width`` lies outside the range or ``inputs`` holds no sample.

    Example:
        >>> from vsnn_lab import MLP, Width
        >>> net = MLP(784, (Width(256),), 10)
        >>> measure_latency(net, 64, torch.zeros(8, 784), repeats=3).batch
        8
    """
    check_int("repeats", repeats)
    if threads is not None:
        check_threads(threads)
    seconds = math.inf if seconds is None else check_number("seconds", seconds, 0)
    before = torch.get_num_threads()
    threads = before if threads is None else int(threads)
    times = []
    with _submodel(model, width, inputs) as cut:
        try:
            torch.set_num_threads(threads)
            begun = time.perf_counter()
            for _ in range(_WARM_UP + repeats):
                x = private_copy(cut, inputs)
                _synchronize(inputs)
                start = time.perf_counter()
                cut(x)
                _synchronize(inputs)
                times.append(1e3 * (time.perf_counter() - start))
                if len(times) > _FEWEST and time.perf_counter() - begun > seconds:
                    break
        finally:
            torch.set_num_threads(before)
    whole = len(times) == _WARM_UP + repeats
    timed = times[_WARM_UP if whole else min(_WARM_UP, len(times) - _FEWEST) :]
    low, middle, high = (float(ms) for ms in np.percentile(timed, (25, 50, 75)))
    return Latency(middle, low, high, threads, len(inputs), str(inputs.device))


def check_threads(threads: object) -> int:
    """Return a number of threads that torch may be asked for."""
    return check_int("threads", threads, 1, _THREADS, hint="None leaves torch's number as it is")


def check_inputs(inputs: object, name: str = "inputs") -> None:
    """Refuse what is no batch of at least one sample."""
    if not isinstance(inputs, Tensor):
        raise TypeError(
            f"{name} must be a tensor of shape (batch, ...), got {short_repr(inputs)}; "
            "pass a batch of what the model takes"
        )
    if inputs.dim() == 0 or len(inputs) == 0:
        raise ValueError(
            f"{name} must hold at least one sample, got shape {tuple(inputs.shape)}; "
            "the first dimension is the batch"
        )


@contextmanager
def _submodel(model: nn.Module, width: Positions, inputs: Tensor) -> Iterator[nn.Module]:
    """Cut one width out, for forwards that leave no trace behind."""
    check_inputs(inputs)
    cut = extract(model, {} if width is None else width).to(inputs.device).eval()
    # A network may draw numbers in evaluation mode too, to sample a code say.
    devices = [inputs.device] if inputs.is_cuda else []
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        yield cut


def _count_products(model: nn.Module, width: Positions, inputs: Tensor) -> Products:
    with _submodel(model, width, inputs) as cut:
        # The counter takes no inputs that want gradients.
        return count_products(cut, private_copy(cut, inputs[:1].detach()))


def _synchronize(inputs: Tensor) -> None:
    """Wait for the device: CUDA returns before its work is done."""
    if inputs.is_cuda:
        torch.cuda.synchronize(inputs.device)
