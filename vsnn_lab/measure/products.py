"""The products of a forward: torch's counter, formulas that it lacks, and what nobody counts."""

import math
import warnings
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

Shape = Sequence[int]

_ATEN = torch.ops.aten
# Whose operations are torch's own; those of another library may do anything.
_TORCH = {"aten", "c10d", "_c10d_functional", "prim", "prims", "profiler", "rngprims"}
# What torch calls operations that do products, word by word: `_fft_r2c`, `sparse_sampled_addmm`.
_MULTIPLYING = {
    *("addbmm", "addmm", "addmv", "baddbmm", "bmm", "dot", "hspmm", "linear", "matmul", "mm", "mv"),
    *("conv", "conv2d", "conv3d", "convolution", "tbc", "trilinear"),
    *("attention", "gru", "lstm", "rnn", "transformer"),
    *("cdist", "euclidean", "fft", "linalg", "pdist"),
    *("cholesky", "geqrf", "inverse", "ormqr", "solve", "spsolve", "sspaddmm"),
}
# Of these words, but with products of single elements alone.
_ELEMENTWISE = {
    *("_thnn_fused_gru_cell", "_thnn_fused_lstm_cell", "fft_fftfreq", "fft_rfftfreq"),
    *("_linalg_check_errors", "linalg__powsum", "linalg_cross", "linalg_vector_norm"),
}


def _sizes_at(*places: int) -> Callable[..., int]:
    """Return the formula that multiplies the sizes of the arguments at some places."""
    return lambda *shapes, **_: 2 * math.prod(math.prod(shapes[place]) for place in places)


def _matrices_at(place: int) -> Callable[..., int]:
    """Return the formula of a product of two matrices, or of batches of them, from a place on."""
    return lambda *shapes, **_: 2 * math.prod(shapes[place]) * shapes[place + 1][-1]


def _attention(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _trilinear(*arguments: Any, **_: Any) -> int:
    """Count one product for each weight of a bilinear layer and each sample."""
    sizes = []
    for shape, inserted in zip(arguments[:3], arguments[3:6], strict=True):
        own = iter(shape)
        dims = range(len(shape) + len(inserted))
        sizes.append([1 if dim in inserted else next(own) for dim in dims])
    return 2 * math.prod(map(max, *sizes))


def _conv_tbc(x: Shape, weight: Shape, *_: Any, out_shape: Shape, **__: Any) -> int:
    return 2 * math.prod(out_shape) * math.prod(weight[:2])


# As torch's own they take shapes in place of tensors, and count two operations for each product.
_FORMULAS = {
    _ATEN._int_mm: _matrices_at(0),
    _ATEN._scaled_dot_product_flash_attention_for_cpu: _attention,
    _ATEN._scaled_dot_product_fused_attention_overrideable: _attention,
    _ATEN._trilinear: _trilinear,
    _ATEN.addbmm: _matrices_at(1),
    _ATEN.addbmm_: _matrices_at(1),
    _ATEN.addmm_: _matrices_at(1),
    _ATEN.addmv: _sizes_at(1),
    _ATEN.addmv_: _sizes_at(1),
    _ATEN.addr: _sizes_at(1, 2),
    _ATEN.addr_: _sizes_at(1, 2),
    _ATEN.baddbmm_: _matrices_at(1),
    _ATEN.conv_tbc: _conv_tbc,
    _ATEN.dot: _sizes_at(0),
    _ATEN.mv: _sizes_at(0),
    _ATEN.vdot: _sizes_at(0),
}


@dataclass(frozen=True)
class Products:
    """Multiply-accumulates of one forward.

    Attributes:
        total: All of them.
        by_module: Those that each module does, its children's included, by its name in the network.
        unknown: Operations whose products nobody counts.
    """

    total: int
    by_module: dict[str, int]
    unknown: frozenset[str]

    @property
    def own(self) -> dict[str, int]:
        """Those that modules do by themselves, by name; modules that do none are left out."""
        inner: Counter[str] = Counter()
        for name, count in self.by_module.items():
            if name:
                inner[name.rpartition(".")[0]] += count
        return {n: own for n, count in self.by_module.items() if (own := count - inner[n])}


def count_products(network: nn.Module, x: Tensor) -> Products:
    """Count the products of a forward by torch's own counter."""
    counter = FlopCounterMode(display=False, custom_mapping=_FORMULAS)
    unknown = _UnknownProducts(counter.flop_registry)
    # Entered last, the counter takes operations apart before the other sees what it counts.
    with _unfused_kernels(), unknown, counter:
        network(x)
    counts = {
        name: sum(flops.values()) // 2
        for name, flops in counter.get_flop_counts().items()
        if name != "Global"
    }
    by_module = {name.partition(".")[2]: count for name, count in counts.items()}
    return Products(counter.get_total_flops() // 2, by_module, frozenset(unknown.operations))


def warn_of_unknown(*counts: Products) -> None:
    """Name the operations whose products nobody counts, if there are any."""
    if unknown := sorted(frozenset().union(*(count.unknown for count in counts))):
        warnings.warn(
            "model must do products that can be counted, got those of "
            f"{', '.join(unknown)}, for which there is no formula; the count is right but for them",
            stacklevel=3,
        )


class _UnknownProducts(TorchDispatchMode):
    """Notes the operations that do products for which there is no formula."""

    def __init__(self, known: Container[Any]) -> None:
        super().__init__()
        self.operations: set[str] = set()
        self._known = known

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        library, _, name = func.name().partition("::")
        name = name.partition(".")[0]
        if func.overloadpacket in self._known:
            tensors = [value for value in args if isinstance(value, Tensor)]
            if any(value.layout is not torch.strided for value in tensors):
                self.operations.add(f"{name} of sparse tensors")
        elif library not in _TORCH:
            self.operations.add(f"{library}::{name}")
        elif name not in _ELEMENTWISE and not _MULTIPLYING.isdisjoint(name.split("_")):
            self.operations.add(name)
        return func(*args, **(kwargs or {}))


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
