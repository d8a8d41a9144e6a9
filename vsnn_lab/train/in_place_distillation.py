"""Teach narrow widths of a trained network what full width computes; full width never changes."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from vsnn_lab._basics.checks import (
    check_callable,
    check_flag,
    check_fraction,
    check_int,
    check_module,
    short_repr,
)
from vsnn_lab.layers.levels import level_tops
from vsnn_lab.layers.own_weights import SwitchableLayer
from vsnn_lab.networks.calling import call, evaluated_privately
from vsnn_lab.samplers import LogUniform
from vsnn_lab.samplers.draws import Sampler, draw_widths
from vsnn_lab.train.layer_fit import fit_layers
from vsnn_lab.widths import WidthControl, at_width, width_controls

Loss = Callable[[Any, Any], Tensor]


def divergence(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean divergence of a softmax from that of the target, Kullback-Leibler's.

    Example:
        >>> logits = torch.tensor([[0.0, 1.0]])
        >>> divergence(logits, logits).item()
        0.0
    """
    logs, wanted = (F.log_softmax(each.flatten(0, -2), -1) for each in (output, target))
    return F.kl_div(logs, wanted, reduction="batchmean", log_target=True)


def teach(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    epochs: int = 1,
    loss: Loss | None = None,
    sampler: Sampler | None = None,
    widths: int = 2,
    together: bool = True,
    learning_rate: float = 0.02,
    seed: int = 0,
    progress: bool = True,
) -> list[float]:
    """Train what belongs to narrow widths alone, by the network's own output at full width.

    No labels are needed. Each batch runs at full width, without gradients, and at some narrow
    widths, whose outputs are drawn towards it. What full width computes with stays to the bit:
    parameters, running statistics, modes, gradients, and torch's random state. First, layers that
    were not taught yet are fitted one by one, by least squares, to what full width gives there on
    the first batch: the larger that one is, the better. The network is evaluated meanwhile, so
    that dropout is off.

    Args:
        model: A network whose layers have weights of their own for narrow widths, as
            `make_variable` with ``conditioned=True`` or `condition` gives them. It is changed in
            place, after every step, so that an interruption leaves a network that is taught so far.
        batches: Inputs, each a tensor or a dict of arguments; of a pair or a list, as a
            ``DataLoader`` makes it, the first is the inputs. With several epochs something that can
            be read again.
        epochs: How often the batches are read.
        loss: A function of the output at a narrow width and that at full width. By default
            `divergence` for outputs of shape (batch, classes), else the mean square difference.
        sampler: Draws the widths of a step, by default `LogUniform`.
        widths: How many widths a step trains.
        together: Whether several knobs turn together, each to the same share of its positions, or
            each is drawn by itself.
        learning_rate: Of Adam, in [0, 1]; relative to the root mean square of what a layer's
            weight or bias is at full width. It falls to zero on the way, by half a cosine, where
            ``batches`` has a length.
        seed: Of the widths.
        progress: Whether to show a bar.

    Returns:
        The mean loss of each step.

    Raises:
        TypeError: If an argument has the wrong type, or the network's output needs a loss.
        ValueError: If no layer has weights of its own, or there is no batch.
        FloatingPointError: If a loss is not finite; the network is as it was before that step.

    References:
        Yu & Huang 2019, "Universally Slimmable Networks", arXiv 1903.05134, for in-place
        distillation.

    Example:
        >>> from vsnn_lab import VariableLinear, Width
        >>> from vsnn_lab.networks import condition
        >>> hidden = Width(8)
        >>> net = nn.Sequential(VariableLinear(4, hidden), nn.ReLU(), VariableLinear(hidden, 2))
        >>> _ = condition(net)
        >>> losses = teach(net, [torch.randn(16, 4) for _ in range(3)], progress=False)
        >>> len(losses), net[0].weight.grad
        (3, None)
    """
    check_module("model", model)
    epochs, widths = check_int("epochs", epochs), check_int("widths", widths)
    together, progress = check_flag("together", together), check_flag("progress", progress)
    rate = check_fraction("learning_rate", learning_rate)
    generator = torch.Generator().manual_seed(check_int("seed", seed, 0))
    if loss is not None:
        check_callable("loss", loss, "a function of two outputs, or None")
    if isinstance(batches, Tensor | np.ndarray | Mapping) or not isinstance(batches, Iterable):
        raise TypeError(
            f"batches must be an iterable of inputs, got {short_repr(batches)}; [x] holds a single "
            "batch"
        )
    sampler = LogUniform() if sampler is None else check_callable("sampler", sampler, "a sampler")
    groups = _parameter_groups(model, rate)
    parameters = [each for group in groups for each in group["params"]]
    controls = [control for control in width_controls(model) if control.steps > 1]
    full = {control: control.steps for control in width_controls(model)}
    optimizer = torch.optim.Adam(groups)
    length = len(batches) * epochs if isinstance(batches, Sized) else None
    losses: list[float] = []
    with evaluated_privately(model), at_width(model, full):
        bar = tqdm(total=length, desc="teaching widths", disable=not progress)
        with bar:
            for inputs in _inputs(batches, epochs):
                turns = _draw(sampler, widths, controls, together, generator)
                if not losses:
                    if loss is not None and turns:
                        with at_width(model, turns[0]), torch.enable_grad():
                            _scalar(loss(call(model, inputs), call(model, inputs)))
                    fit_layers(model, inputs, _levels(controls))
                with torch.no_grad():
                    target = call(model, inputs)
                measure = _default_loss(target) if loss is None else loss
                total = 0.0
                gradients: list[Tensor | None] = [None] * len(parameters)
                for turn in turns:
                    with at_width(model, turn), torch.enable_grad():
                        value = _scalar(measure(call(model, inputs), target)) / len(turns)
                        found = torch.autograd.grad(value, parameters, allow_unused=True)
                    total += float(value.detach())
                    gradients = [_sum(*pair) for pair in zip(gradients, found, strict=True)]
                if not math.isfinite(total):
                    raise FloatingPointError(
                        f"loss must stay finite, got {total} in step {len(losses) + 1}; try a "
                        "smaller learning_rate"
                    )
                _step(optimizer, parameters, gradients, len(losses) / length if length else 0.0)
                losses.append(total)
                bar.set_postfix(loss=total, refresh=False)
                bar.update()
    if not losses:
        raise ValueError("batches must hold at least one batch, got none; a generator is read once")
    return losses


def _scalar(value: Any) -> Tensor:
    number = isinstance(value, Tensor) and value.dim() == 0 and value.is_floating_point()
    if not (number and value.requires_grad):
        raise TypeError(
            f"loss must return a scalar tensor that depends on the output, got {short_repr(value)}"
        )
    found: Tensor = value
    return found


def _sum(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    return second if first is None else first if second is None else first + second


def _step(
    optimizer: torch.optim.Optimizer,
    parameters: list[nn.Parameter],
    gradients: list[Tensor | None],
    done: float,
) -> None:
    kept = [parameter.grad for parameter in parameters]
    try:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        for group in optimizer.param_groups:
            group["lr"] = group["full_lr"] * (1 + math.cos(math.pi * done)) / 2
        optimizer.step()
    finally:
        for parameter, gradient in zip(parameters, kept, strict=True):
            parameter.grad = gradient


def _parameter_groups(model: nn.Module, rate: float) -> list[dict[str, Any]]:
    """Return what is to be trained, each with a rate that suits the weights it is added to."""
    groups = []
    for layer in model.modules():
        if isinstance(layer, SwitchableLayer):
            for name, own in layer.own_weights.named_parameters():
                if own.requires_grad:
                    shared: Tensor = getattr(layer, name.partition("_")[0])
                    size = float(shared.detach().float().square().mean().sqrt()) or 1.0
                    groups.append({"params": [own], "lr": rate * size, "full_lr": rate * size})
    if not groups:
        raise ValueError(
            "model must have layers with weights of their own for narrow widths, got none; "
            "make_variable(..., conditioned=True) or condition(model) gives it some"
        )
    return groups


def _inputs(batches: Iterable[Any], epochs: int) -> Iterator[Any]:
    for _ in range(epochs):
        for batch in batches:
            yield batch[0] if isinstance(batch, tuple | list) else batch


def _default_loss(target: Any) -> Loss:
    if not isinstance(target, Tensor) or not target.is_floating_point():
        raise TypeError(
            f"loss must be given where the network returns no tensor of numbers, got "
            f"{type(target).__name__}"
        )
    return divergence if target.dim() == 2 and target.shape[1] > 1 else F.mse_loss


def _draw(
    sampler: Sampler,
    count: int,
    controls: list[WidthControl],
    together: bool,
    generator: torch.Generator,
) -> list[dict[WidthControl, int]]:
    """Return positions of all knobs for each of some widths, narrow ones first."""
    if together:
        steps = max(control.steps for control in controls)
        drawn = draw_widths(sampler, count, steps, generator).tolist()
        turns = [
            {control: -(-width * control.steps // steps) for control in controls} for width in drawn
        ]
    else:
        each = [draw_widths(sampler, count, control.steps, generator) for control in controls]
        # A sampler draws ascending widths: knobs are to be drawn apart.
        mixed = [part[torch.randperm(count, generator=generator)].tolist() for part in each]
        turns = [dict(zip(controls, row, strict=True)) for row in zip(*mixed, strict=True)]
    narrow = [turn for turn in turns if any(w < c.steps for c, w in turn.items())]
    return list({tuple(turn.values()): turn for turn in narrow}.values())


def _levels(controls: list[WidthControl]) -> list[dict[WidthControl, int]]:
    """Return the widest positions of every level of any knob, the widest first."""
    longest = max(controls, key=lambda control: control.steps)
    tops = [level[longest] / longest.steps for level in level_tops([longest])]
    return [
        {each: max(1, min(each.steps - 1, round(top * each.steps))) for each in controls}
        for top in tops
    ]
