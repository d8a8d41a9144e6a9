"""Where teaching starts from: each layer alone, fitted to what full width gives there.

A unit that a narrow width keeps has something to be like: itself, at full width. So the weights of
a layer, what narrow widths add to them, are those of the least squares that bring its outputs as
close to them as what it gets there allows; one layer after the other, each on what those before it
give by now. It takes a forward for each level of widths and no gradient. He et al. 2017, "Channel
Pruning for Accelerating Very Deep Neural Networks", arXiv 1707.06168, so prune a network once.

A batch norm has a scale and a shift for each channel, which are fitted alike; in a convolution of
groups, a depthwise one say, nothing is, since a norm that follows does as much.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from vsnn_lab.layers.own_weights import SwitchableLayer
from vsnn_lab.networks.calling import call
from vsnn_lab.widths import Width, WidthControl, at_width, keep_prefix, kept_ranges, take_units

# Rows that a layer is fitted on at most, several times as many as it has inputs.
_ROWS = 8_192
_ROWS_PER_INPUT = 4
# A direction that varies less than this share of what all do on average is left as it was, and the
# more so the fewer rows there are for each input. 0.01 gave more than 0.001 on EfficientNet-Lite0.
_RIDGE = 1e-2


def fit_layers(model: nn.Module, inputs: Any, turns: Iterable[Mapping[WidthControl, int]]) -> None:
    """Fit layers to their outputs at full width, at each of some widths.

    Layers that something has trained already are left alone, and those that run several times.

    Args:
        model: A network in evaluation mode, at full width.
        inputs: A batch.
        turns: Positions of the knobs, in levels of their own.
    """
    fits = {
        layer: fit
        for layer in model.modules()
        if isinstance(layer, SwitchableLayer) and _is_untaught(layer)
        if (fit := _fit_for(layer)) is not None
    }
    outputs: dict[nn.Module, list[Tensor]] = {layer: [] for layer in fits}

    def keep_rows(layer: Any, _: Any, output: Tensor) -> None:
        outputs[layer].append(_rows_of(output, layer.unit_dim, _row_count(layer)))

    def fit_layer(layer: Any, arguments: tuple[Any, ...]) -> None:
        if len(outputs[layer]) == 1:
            (wanted,) = outputs[layer]
            if isinstance(layer.out_axis, Width):
                wanted = take_units(
                    wanted, kept_ranges(layer.out_axis, _positions(layer.out_axis)), 1
                )
            fits[layer](layer, keep_prefix(arguments[0], layer.in_axis, layer.unit_dim), wanted)

    with torch.no_grad():
        hooks: list[Any] = [layer.register_forward_hook(keep_rows) for layer in fits]
        try:
            call(model, inputs)
        finally:
            for hook in hooks:
                hook.remove()
        hooks = [layer.register_forward_pre_hook(fit_layer) for layer in fits]
        try:
            for turn in turns:
                with at_width(model, turn):
                    call(model, inputs)
        finally:
            for hook in hooks:
                hook.remove()


def _positions(axis: Width) -> dict[WidthControl, Any]:
    return {control: control.position for control in axis.controls}


def _is_untaught(layer: SwitchableLayer) -> bool:
    return not any(bool(each.any()) for each in layer.own_weights.parameters())


def _fit_for(layer: Any) -> Callable[[Any, Tensor, Tensor], None] | None:
    """Return what fits a layer, where something does."""
    if isinstance(layer, _BatchNorm):
        own: Any = layer.own_weights
        known = layer.running_mean is not None and own.shapes.get("bias")
        return _fit_norm if known else None
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        alone = layer.groups > 1 or layer.padding_mode != "zeros" or isinstance(layer.padding, str)
    else:
        alone = not isinstance(layer, nn.Linear)
    return _fit_weight if not alone and isinstance(layer.in_axis, Width) else None


def _row_count(layer: Any) -> int:
    return max(_ROWS, _ROWS_PER_INPUT * int(layer.weight[0].numel()))


def _rows_of(x: Tensor, dim: int, most: int) -> Tensor:
    """Return units as columns, in rows that are evenly spread over all the rest."""
    rows = x.movedim(dim, -1).flatten(0, -2)
    if len(rows) <= most:
        return rows.clone()
    return rows[_spread(len(rows), most, x.device)]


def _spread(count: int, most: int, device: torch.device) -> Tensor:
    return torch.linspace(0, count - 1, most, dtype=torch.float64, device=device).long()


def _input_rows(layer: Any, x: Tensor, most: int) -> Tensor:
    """Return what each row of the output is a product of, as columns."""
    if isinstance(layer, nn.Linear) or not any(size > 1 for size in layer.kernel_size):
        if not isinstance(layer, nn.Linear):
            steps: Any = tuple(slice(None, None, step) for step in layer.stride)
            x = F.pad(x, [p for each in layer.padding[::-1] for p in (each, each)])[..., *steps]
        return _rows_of(x, layer.unit_dim, most)
    options = [layer.kernel_size, layer.dilation, layer.padding, layer.stride]
    if isinstance(layer, nn.Conv1d):
        x = x.unsqueeze(-2)
        options = [(neutral, *each) for each, neutral in zip(options, (1, 1, 0, 1), strict=True)]
    each = F.unfold(x[:1], *options).shape[-1]
    chosen = torch.arange(len(x) * each, device=x.device)
    if len(chosen) > most:
        chosen = _spread(len(chosen), most, x.device)
    parts = []
    for sample, image in enumerate(x):
        columns = chosen[(chosen >= sample * each) & (chosen < (sample + 1) * each)] - sample * each
        if len(columns):
            parts.append(F.unfold(image[None], *options)[0, :, columns].T)
    return torch.cat(parts)


def _fit_weight(layer: Any, x: Tensor, wanted: Tensor) -> None:
    columns = _input_rows(layer, x, _row_count(layer)).double()
    weight, bias = layer.kept_parameters()
    given = columns @ weight.double().flatten(1).T
    if bias is not None:
        given, columns = given + bias, F.pad(columns, (0, 1), value=1.0)
    squares = columns.T @ columns
    scale = squares.diagonal().mean()
    if not scale > 0:
        return
    squares.diagonal().add_((_RIDGE + columns.shape[1] / len(columns)) * scale)
    change = torch.linalg.solve(squares, columns.T @ (wanted - given)).T
    own = {"weight": change[:, : weight[0].numel()].reshape(weight.shape)}
    if bias is not None:
        own["bias"] = change[:, -1]
    layer.set_own(**{name: value.to(weight.dtype) for name, value in own.items()})


def _fit_norm(layer: Any, x: Tensor, wanted: Tensor) -> None:
    ranges = kept_ranges(layer.axis, _positions(layer.axis))
    mean, variance = (
        take_units(part, ranges, 0) for part in (layer.running_mean, layer.running_var)
    )
    weight, bias = layer.first_parameters()
    rows = _rows_of(x, layer.unit_dim, _row_count(layer))
    rows, wanted = ((rows - mean) * torch.rsqrt(variance + layer.eps)).double(), wanted.double()
    deviations = rows - rows.mean(0)
    squares = deviations.square().mean(0)
    ridge = _RIDGE * squares.mean() + torch.finfo(torch.float32).tiny
    # A channel that does not vary keeps its scale.
    scale = ((deviations * wanted).mean(0) + ridge * weight) / (squares + ridge)
    shift = wanted.mean(0) - scale * rows.mean(0)
    layer.set_own(weight=(scale - weight).to(weight.dtype), bias=(shift - bias).to(bias.dtype))
