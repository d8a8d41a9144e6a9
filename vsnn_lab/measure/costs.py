"""What a width costs: parameters, multiply-accumulates, time."""

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from tqdm.auto import tqdm

from vsnn_lab._basics.checks import check_int
from vsnn_lab.layers import VariableLayer
from vsnn_lab.networks.extraction import cut_positions, extract, inner_network
from vsnn_lab.networks.tensor_uses import tensor_uses
from vsnn_lab.widths import WidthControl, full_size, kept_size, single_control

Positions = int | Mapping[WidthControl, int] | None

# The first calls allocate memory and choose kernels.
_WARM_UP = 5
# Ordinary layers, that have as many products at every width.
_CONSTANT = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
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
    uses = tensor_uses(inner_network(model), positions)
    # What layers share counts once.
    return sum({use.key: math.prod(use.shape) for use in uses if use.is_parameter}.values())


def count_macs(model: nn.Module, width: Positions, inputs: Tensor) -> int:
    """Count the multiply-accumulates per sample of the submodel of one width.

    Half of what torch's own counter finds in the forward of one sample: matrix products,
    convolutions and attention; element-wise work counts as nothing. A copy runs, in evaluation
    mode and without gradients, so the model and torch's random state stay as they are.

    Args:
        model: Any module.
        width: As in `extract`; None is full width.
        inputs: What the model takes, shape (batch, ...); the first sample runs, on its device.

    Raises:
        TypeError: If ``width`` is not an integer or ``inputs`` is not a tensor.
        ValueError: If ``width`` lies outside the range or ``inputs`` holds no sample.

    References:
        ``torch.utils.flop_counter.FlopCounterMode``; it counts two operations for each.

    Example:
        >>> from vsnn_lab import MLP, Width
        >>> count_macs(MLP(784, (Width(256),), 10), 64, torch.zeros(1, 784))  # 784*64 + 64*10
        50816
    """
    return _count_flops(model, width, inputs).get_total_flops() // 2


def count_macs_by_width(
    model: nn.Module, widths: Sequence[int], inputs: Tensor, *, progress: bool = True
) -> list[int]:
    """Count as `count_macs` does, at several widths.

    Where all products are those of layers, whose counts go with the size of their weights, two
    forwards tell all widths; other networks run once for each.
    """
    control, layers, first = single_control(model), dict(model.named_modules()), widths[0]
    full, narrow = (_macs_by_module(model, width, inputs) for width in (None, first))

    def at(width: int) -> dict[str, int]:
        return {
            name: _macs_of_layer(count, layers.get(name), {control: width})
            for name, count in full.items()
        }

    if at(first) != narrow:
        bar = tqdm(widths, desc="MACs", delay=2, disable=not progress)
        return [count_macs(model, width, inputs) for width in bar]
    return [sum(at(width).values()) for width in widths]


def _macs_of_layer(count: int, layer: nn.Module | None, positions: dict[WidthControl, int]) -> int:
    """Return a layer's products at a width from those at full width; -1 if that is unknown."""
    if not isinstance(layer, VariableLayer):
        return count if isinstance(layer, _CONSTANT) else -1
    axes = layer.parameter_axes.get("weight")
    if axes is None:
        return -1
    kept = math.prod(kept_size(axis, positions) for axis in axes)
    return count * kept // math.prod(map(full_size, axes))


def _macs_by_module(model: nn.Module, width: Positions, inputs: Tensor) -> dict[str, int]:
    """Return the products that modules do by themselves, by the names they have in the model."""
    counts = {
        name.partition(".")[2]: sum(products.values()) // 2
        for name, products in _count_flops(model, width, inputs).get_flop_counts().items()
        if name != "Global"
    }
    inner: Counter[str] = Counter()
    for name, count in counts.items():
        if name:
            inner[name.rpartition(".")[0]] += count
    return {name: own for name, count in counts.items() if (own := count - inner[name])}


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
    repeats: int = 50,
    threads: int | None = None,
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
        check_int("threads", threads, 1, _THREADS, hint="None leaves torch's number as it is")
    before = torch.get_num_threads()
    threads = before if threads is None else int(threads)
    times = []
    with _submodel(model, width, inputs) as cut:
        try:
            torch.set_num_threads(threads)
            for _ in range(_WARM_UP + repeats):
                _synchronize(inputs)
                start = time.perf_counter()
                cut(inputs)
                _synchronize(inputs)
                times.append(1e3 * (time.perf_counter() - start))
        finally:
            torch.set_num_threads(before)
    low, middle, high = (float(ms) for ms in np.percentile(times[_WARM_UP:], (25, 50, 75)))
    return Latency(middle, low, high, threads, len(inputs), str(inputs.device))


def check_inputs(inputs: object, name: str = "inputs") -> None:
    """Refuse what is no batch of at least one sample."""
    if not isinstance(inputs, Tensor):
        raise TypeError(
            f"{name} must be a tensor of shape (batch, ...), got {inputs!r}; "
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


@contextmanager
def _unfused_kernels() -> Iterator[None]:
    """Keep attention and recurrent layers off the fused kernels.

    Torch's counter sees through their plain forms alone and takes some fused ones for nothing:
    the fast path of ``nn.TransformerEncoder``, attention on the CPU, and the recurrent layers of
    oneDNN and cuDNN.
    """
    libraries: tuple[Any, ...] = (torch.backends.mkldnn, torch.backends.cudnn)
    enabled = [library.enabled for library in libraries]
    fast = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        for library in libraries:
            library.enabled = False
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for library, was in zip(libraries, enabled, strict=True):
            library.enabled = was


def _count_flops(model: nn.Module, width: Positions, inputs: Tensor) -> FlopCounterMode:
    counter = FlopCounterMode(display=False)
    with _submodel(model, width, inputs) as cut, _unfused_kernels(), counter:
        # The counter takes no inputs that want gradients.
        cut(inputs[:1].detach())
    return counter


def _synchronize(inputs: Tensor) -> None:
    """Wait for the device: CUDA returns before its work is done."""
    if inputs.is_cuda:
        torch.cuda.synchronize(inputs.device)
