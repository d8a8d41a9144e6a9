"""A dense network as numbers that the browser runs at any width, without a kernel."""

import logging
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_int, check_rows
from vsnn_lab.measure.evaluation import evaluation_mode, to_device_of
from vsnn_lab.networks.gate import is_elementwise, private_copy, proven_chain
from vsnn_lab.widths import WidthControl, at_width, check_controls, single_control

_log = logging.getLogger(__name__)

MOST = 2_000_000  # bytes of weights that ride along with a page
_AGREE = 1e-3  # of the largest output; half precision keeps eleven binary digits of a weight
_SAMPLES = 32  # inputs that the packed network is compared with the model on
_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "relu": F.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "leaky_relu": F.leaky_relu,
}
_NAMES = {nn.ReLU: "relu", nn.Sigmoid: "sigmoid", nn.Tanh: "tanh", nn.SiLU: "silu"}
_NOTHING = (nn.Identity, nn.Dropout, nn.AlphaDropout)  # in evaluation mode


class _NotDenseError(Exception):
    """Why a model cannot be packed."""


def pack_dense(
    model: nn.Module, sample: Tensor, most: int = MOST
) -> tuple[dict[str, Any], bytes] | None:
    """Pack a chain of dense layers for ``front/dense.js``, if that gives what the model does.

    The model has to be proven to be a chain (see `vsnn_lab.networks.gate`), of linear layers,
    reshapes and known activations, whose outputs have one size at every width. A layer whose
    weights at a width are a corner of those at a wider one is kept once; one that has weights of
    its own for some widths, once for each such group. What was packed is run beside the model
    before it is returned. Why a model is not packed, a debug log says.

    Args:
        model: A network with one knob.
        sample: Some of its inputs, shape (n, ...).
        most: Bytes that the weights may take.

    Returns:
        What the network is, ready for JSON, and its weights in half precision; or None. The first
        has the knob's ``steps`` and a list of ``layers``, of which each has ``rows`` and
        ``columns`` at every width; ``tables`` of weights, in order of the widest width (``top``)
        that each is for, with its ``columns``, where ``weight`` and ``bias`` (or None) begin,
        counted in numbers; and ``then``, activations as lists of a name and its arguments.
    """
    check_rows("sample", sample)
    most = check_int("most", most)
    try:
        if len(check_controls(model)) > 1:
            raise _NotDenseError("has several knobs")
        with evaluation_mode(model), at_width(model, single_control(model).steps):
            x = to_device_of(model, sample[:_SAMPLES])
            packed = _pack(model, x, most)
            _verify(model, x, *packed)
    except _NotDenseError as reason:
        _log.debug("%s is not packed: it %s", type(model).__name__, reason)
        return None
    return packed


def run_dense(spec: dict[str, Any], weights: bytes, x: Tensor, width: int) -> Tensor:
    """Compute what ``front/dense.js`` does.

    Args:
        spec: As from `pack_dense`.
        weights: The same.
        x: Inputs, float32, shape (batch, features).
        width: Knob position.

    Returns:
        Outputs, shape (batch, features).
    """
    numbers = torch.from_numpy(np.frombuffer(weights, "<f2").astype(np.float32))
    for layer in spec["layers"]:
        rows, columns = layer["rows"][width - 1], layer["columns"][width - 1]
        table = next(table for table in layer["tables"] if width <= table["top"])
        size = (rows, columns), (table["columns"], 1)
        weight = numbers.as_strided(*size, table["weight"])
        start = table["bias"]
        bias = None if start is None else numbers[start : start + rows]
        x = F.linear(x[:, :columns], weight, bias)
        for name, *arguments in layer["then"]:
            x = _FUNCTIONS[name](x, *arguments)
    return x


def _pack(model: nn.Module, x: Tensor, most: int) -> tuple[dict[str, Any], bytes]:
    control, modules = single_control(model), proven_chain(model)
    if modules is None:
        raise _NotDenseError("is not proven to be a chain")
    layers: list[dict[str, Any]] = []
    parts: list[Tensor] = []
    for module in modules:
        if type(module) is nn.Linear or (isinstance(module, nn.Linear) and hasattr(module, "cut")):
            if x.dim() != 2:
                raise _NotDenseError(f"gives {module} inputs of shape {tuple(x.shape)}")
            layers.append(_pack_linear(module, control, parts, most // 2))
        elif type(module) in (nn.Flatten, nn.Unflatten):
            if module(x).shape[:1] != x.shape[:1]:
                raise _NotDenseError(f"mixes samples in {module}")
        elif type(module) not in _NOTHING:
            if not layers:
                raise _NotDenseError(f"begins with {module}")
            layers[-1]["then"].append(_activation(module))
        x = module(private_copy(module, x))
    for before, after in pairwise(layers):
        sizes = zip(before["rows"], after["columns"], strict=True)
        if not all(rows >= columns for rows, columns in sizes):
            raise _NotDenseError("has layers that do not fit each other at every width")
    if len({*layers[-1]["rows"]}) > 1:
        raise _NotDenseError("returns as many numbers as the width says")
    numbers = torch.cat([part.flatten() for part in parts]).half().cpu().numpy()
    if not np.isfinite(numbers).all():
        raise _NotDenseError("has weights that half precision cannot hold")
    return {"steps": control.steps, "layers": layers}, numbers.astype("<f2").tobytes()


def _pack_linear(
    layer: Any, control: WidthControl, parts: list[Tensor], most: int
) -> dict[str, Any]:
    """Add a layer's weights to ``parts``, of at most so many numbers; return what it is."""
    rows: list[int] = []
    columns: list[int] = []
    tables: list[dict[str, int | None]] = []
    weight, bias = None, None
    for width in range(control.steps, 0, -1):
        own, shift = layer.weight.detach(), layer.bias
        if type(layer) is not nn.Linear:
            cut = layer.cut({control: width})
            own, shift = cut["weight"], cut.get("bias")
        rows.insert(0, len(own))
        columns.insert(0, own.shape[1])
        if weight is None or not _is_corner(own, shift, weight, bias):
            weight, bias = own, None if shift is None else shift.detach()
            start = sum(part.numel() for part in parts)
            parts += [weight] if bias is None else [weight, bias]
            if start + weight.numel() + len(weight) > most:
                raise _NotDenseError(f"has more weights than the {most:,} that may ride along")
            table = {"top": width, "columns": weight.shape[1], "weight": start}
            tables.insert(0, table | {"bias": None if bias is None else start + weight.numel()})
    return {"rows": rows, "columns": columns, "tables": tables, "then": []}


def _is_corner(
    weight: Tensor, bias: Tensor | None, wider: Tensor, wider_bias: Tensor | None
) -> bool:
    rows, columns = weight.shape
    same = weight.data_ptr() == wider.data_ptr() or torch.equal(weight, wider[:rows, :columns])
    return same and (
        bias is None or wider_bias is None or torch.equal(bias.detach(), wider_bias[:rows])
    )


def _activation(module: nn.Module) -> list[Any]:
    """Return the name of an activation in ``front/dense.js``, and its arguments."""
    if is_elementwise(module):
        if type(module) in _NAMES:
            return [_NAMES[type(module)]]
        if type(module) is nn.GELU:
            return ["gelu" if module.approximate == "none" else "gelu_tanh"]
        if type(module) is nn.LeakyReLU:
            return ["leaky_relu", module.negative_slope]
    raise _NotDenseError(f"has {module}, which is neither dense nor a known activation")


def _verify(model: nn.Module, x: Tensor, spec: dict[str, Any], weights: bytes) -> None:
    """Compare with the model at both ends of the knob and in between."""
    steps = spec["steps"]
    for width in {1, (steps + 1) // 2, steps}:
        found = run_dense(spec, weights, x.flatten(1).float().cpu(), width)
        with at_width(model, width):
            output = model(private_copy(model, x))
        expected = output.flatten(1).float().cpu()
        fits = found.shape == expected.shape
        # Written so that a NaN, on either side, does not agree.
        if not fits or not (found - expected).abs().max() <= _AGREE * expected.abs().max():
            raise _NotDenseError(f"gives other outputs in half precision at width {width}")
