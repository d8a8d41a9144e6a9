"""Take a width home: verified against the variable network, and as ONNX."""

from collections.abc import Collection, Iterable, Mapping
from functools import partial
from importlib import import_module
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_collection, check_int, check_path, short_repr
from vsnn_lab._basics.files import atomic_write
from vsnn_lab.measure.evaluation import evaluation_mode
from vsnn_lab.networks.extraction import cut_positions, extract
from vsnn_lab.widths import WidthControl, at_width

_ONNX_BYTES = 2**31 - 1  # most that one protobuf file holds
# Those that onnxruntime multiplies matrices in on every CPU, and that NumPy has.
_ONNX_DTYPES = (torch.float16, torch.float32, torch.float64)


def verify_extraction(
    model: nn.Module, width: int | Mapping[WidthControl, int], inputs: Any
) -> float:
    """Return how far the extracted network is from the variable one at a width.

    Both run in evaluation mode, without gradients, on the model's device and on copies of
    ``inputs``; modes and knobs are put back.

    Args:
        model: A module with variable axes.
        width: As in `extract`.
        inputs: What the model takes: a tensor, a list or a dict; a tuple is several arguments.

    Returns:
        Largest absolute difference between the outputs' numbers; infinite where only one of two is
        no number. The outputs may be tensors, or tuples, lists and dicts of them.

    Raises:
        TypeError: If ``width`` is not an integer, ``inputs`` or an output is of another type.
        ValueError: If ``width`` lies outside the range, or the outputs differ in structure.

    Example:
        >>> from vsnn_lab import MLP, Width
        >>> verify_extraction(MLP(3, (Width(8),), 2), 5, torch.ones(4, 3)) < 1e-5
        True
    """
    positions = cut_positions(model, width)
    if not isinstance(inputs, Tensor | tuple | list | Mapping):
        raise TypeError(
            f"inputs must be a tensor, tuple, list or dict, got {type(inputs).__name__}"
        )
    arguments = inputs if isinstance(inputs, tuple) else (inputs,)
    first = next(model.parameters(), None)
    device = None if first is None else first.device
    cut = extract(model, positions).eval()
    with torch.no_grad():
        found = cut(*_copy_tensors(arguments, device))
        with evaluation_mode(model), at_width(model, positions):
            expected = model(*_copy_tensors(arguments, device))
    return _deviation(_named_tensors(found), _named_tensors(expected))


def export_onnx(
    model: nn.Module,
    width: int | Mapping[WidthControl, int],
    path: str | Path,
    inputs: Tensor | tuple[Tensor, ...],
    *,
    tolerance: float = 1e-5,
    free_dims: Collection[int] = (),
) -> float:
    """Write the submodel of one width as one ONNX file for any batch size, and check it.

    onnxruntime runs it on ``inputs`` and on batches of other sizes, and only a file that agrees
    with the extracted network, in evaluation mode on the CPU, takes its place at ``path``.

    Args:
        model: A module with variable axes.
        width: As in `extract`.
        path: The file; missing folders are made.
        inputs: A typical batch, shape (batch, ...), or a tuple of one for each argument.
        tolerance: Largest absolute difference to accept.
        free_dims: Further dimensions of the inputs whose sizes stay free: (1,) for the length of
            sequences, shape (batch, time).

    Returns:
        Largest absolute difference between the outputs of onnxruntime and of the network.

    Raises:
        ImportError: If onnx, onnxscript or onnxruntime is missing.
        TypeError: If an argument has the wrong type.
        ValueError: If ``width`` lies outside the range, the inputs are not batches of one size, the
            network is too large for one file or in a dtype that ONNX files do not run in, or the
            difference exceeds ``tolerance``.
    """
    positions = cut_positions(model, width)
    if refusal := onnx_refusal(model):
        raise ValueError(refusal)
    arguments = _check_batches(inputs)
    dims = [check_int("free_dims", dim) for dim in check_collection("free_dims", free_dims, "ints")]
    if any(dim >= value.dim() or not value.shape[dim] for dim in dims for value in arguments):
        shapes = [tuple(value.shape) for value in arguments]
        raise ValueError(f"free_dims must be dimensions of every input, got {dims} of {shapes}")
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float):
        raise TypeError(f"tolerance must be a number, got {short_repr(tolerance)}")
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be at least 0, got {tolerance}")
    path = check_path("path", path, "file")
    runtime = _onnx_runtime()
    cut = extract(model, positions).eval().cpu()
    size = sum(value.nbytes for value in chain(cut.parameters(), cut.buffers()))
    if size > _ONNX_BYTES:
        raise ValueError(
            f"model must fit one ONNX file of {_ONNX_BYTES} bytes, got {size}; choose a smaller "
            "width"
        )
    # What the network cannot take it says in a line, and the exporter in pages.
    with torch.no_grad():
        _named_tensors(cut(*_copy_tensors(arguments, None)))
    free = {0: torch.export.Dim("batch")} | {dim: torch.export.Dim(f"size_{dim}") for dim in dims}
    at_least_two = arguments  # torch.export takes a size of 1 for a constant
    for dim in free:
        at_least_two = _resize(at_least_two, max(arguments[0].shape[dim], 2), dim)
    program = torch.onnx.export(
        cut,
        at_least_two,
        dynamo=True,
        dynamic_shapes=tuple(free for _ in arguments),
        verbose=False,
    )
    assert program is not None  # it is for some options alone
    data = program.model_proto.SerializeToString()
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    others = [arguments]
    for dim in free:
        size = arguments[0].shape[dim]
        others.append(_resize(arguments, 1 if size > 1 else 3, dim))
        if dim:
            others.append(_resize(arguments, 2 * size + 1, dim))
    deviation = max(_onnx_deviation(session, cut, each) for each in others)
    if deviation > tolerance:
        raise ValueError(
            f"tolerance must cover what onnxruntime deviates by, got {tolerance} and a deviation "
            f"of {deviation:.3g}; nothing was written to {path}"
        )
    with atomic_write(path) as part:
        part.write_bytes(data)
    return deviation


def onnx_refusal(model: nn.Module) -> str:
    """Return why a model's dtype cannot go into an ONNX file, or nothing."""
    dtypes = {weight.dtype for weight in chain(model.parameters(), model.buffers())}
    numbers = {dtype for dtype in dtypes if dtype.is_floating_point or dtype.is_complex}
    other = sorted(str(dtype).removeprefix("torch.") for dtype in numbers - {*_ONNX_DTYPES})
    rule = "model must be in float16, float32 or float64 for ONNX"
    return f"{rule}, got {', '.join(other)}; model.float() is" if other else ""


def _copy_tensors(value: Any, device: torch.device | None, _around: tuple[int, ...] = ()) -> Any:
    """Copy nested tensors, because a network may begin with an operation in place."""
    if id(value) in _around:
        raise ValueError("inputs must not hold themselves, got a list or dict inside itself")
    inner = partial(_copy_tensors, device=device, _around=(*_around, id(value)))
    match value:
        case Tensor():
            return value.detach().to(device, copy=True)
        case Mapping():
            return {key: inner(item) for key, item in value.items()}
        case tuple() if hasattr(value, "_fields"):
            return type(value)(*map(inner, value))
        case tuple() | list():
            return type(value)(map(inner, value))
    return value


def _named_tensors(output: Any, place: str = "output") -> dict[str, Tensor]:
    """Return the tensors of an output by their place in it, in order."""
    match output:
        case None:
            return {}
        case Tensor():
            return {place: output}
        case Mapping():
            items: Iterable[tuple[Any, Any]] = output.items()
        case tuple() | list():
            items = enumerate(output)
        case _:
            raise TypeError(
                "model must return tensors, or tuples, lists or dicts of them, got "
                f"{type(output).__name__} as {place}"
            )
    parts = (_named_tensors(item, f"{place}[{key!r}]") for key, item in items)
    return {name: tensor for part in parts for name, tensor in part.items()}


def _deviation(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    shapes = [{k: tuple(v.shape) for k, v in side.items()} for side in (found, expected)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            "model must return what its submodel returns, got shapes "
            f"{shapes[1]} against {shapes[0]}"
        )
    gaps = [_difference(found[name].cpu(), expected[name].cpu()) for name in found]
    return max(gaps, default=0.0)


def _difference(a: Tensor, b: Tensor) -> float:
    same = (a == b) | (a.isnan() & b.isnan())
    wide = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float64)
    gaps = (a.to(wide) - b.to(wide)).abs().masked_fill(same, 0.0).nan_to_num(torch.inf, torch.inf)
    return gaps.max().item() if gaps.numel() else 0.0


def _check_batches(inputs: Any) -> tuple[Tensor, ...]:
    arguments = inputs if isinstance(inputs, tuple) else (inputs,)
    for value in arguments:
        if not isinstance(value, Tensor):
            raise TypeError(
                f"inputs must be a tensor or a tuple of tensors, got {type(value).__name__}"
            )
    shapes = [tuple(value.shape) for value in arguments]
    if len({shape[:1] for shape in shapes}) != 1 or not shapes[0] or not shapes[0][0]:
        raise ValueError(f"inputs must have one batch size, at least 1, got shapes {shapes}")
    return tuple(value.detach().cpu() for value in arguments)


def _resize(arguments: tuple[Tensor, ...], size: int, dim: int) -> tuple[Tensor, ...]:
    """Return inputs of another size in a dimension: those from the start, again and again."""
    return tuple(
        value.index_select(dim, torch.arange(size) % value.shape[dim]) for value in arguments
    )


def _onnx_runtime() -> ModuleType:
    try:
        modules = [import_module(name) for name in ("onnx", "onnxscript", "onnxruntime")]
    except ImportError as error:
        raise ImportError(
            f"export_onnx needs {error.name}, got {error}; pip install vsnn-lab[onnx] brings it",
            name=error.name,
        ) from error
    return modules[-1]


def _onnx_deviation(session: Any, cut: nn.Module, arguments: tuple[Tensor, ...]) -> float:
    names = [taken.name for taken in session.get_inputs()]
    values = [value.numpy() for value in arguments]
    found = session.run(None, dict(zip(names, values, strict=True)))
    with torch.no_grad():
        expected = _named_tensors(cut(*_copy_tensors(arguments, None)))
    tensors = map(torch.from_numpy, found)
    return _deviation(dict(zip(expected, tensors, strict=True)), expected)
