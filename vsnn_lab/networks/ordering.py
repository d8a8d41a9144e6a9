"""Order the units of a trained network along its tied axes, the most useful first.

Narrow widths keep first units, and a network that was trained at full width alone has its units in
any order. Exchanging two units wherever they are made and used changes nothing at full width.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_callable, check_module, short_repr
from vsnn_lab.networks.calling import call, evaluated_privately
from vsnn_lab.networks.tied_axes import UnitUse, tied_axes
from vsnn_lab.widths import WidthControl, at_width


@dataclass(frozen=True)
class TiedAxis:
    """A tied axis, as a function that scores its units gets it.

    Args:
        name: That of the first tensor that has it.
        units: How many it has.
        tensors: Every parameter and buffer that makes, takes or scales units, by its name in the
            network, each as a matrix of shape (units, all that belongs to a unit).
    """

    name: str
    units: int
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True)
class Taylor:
    """Scores units by how much the loss, or the output, would change without them, to first order.

    Of each tensor that makes, scales or takes a unit, gradient times weight is summed over what
    belongs to the unit. Its score is the sum of the absolute values, averaged over batches.

    Args:
        batches: Inputs, or pairs (inputs, targets) where there is a loss: a tensor, a tuple of
            arguments or a dict of them each. Read once.
        loss: A function of output and target. Without one the network's own output is the target:
            then the gradient of any distance vanishes, and what counts is the change of the output
            itself, along random directions from a generator of its own.

    References:
        Molchanov et al. 2019, "Importance Estimation for Neural Network Pruning", arXiv 1906.10771.
    """

    batches: Iterable[Any]
    loss: Callable[[Any, Any], Tensor] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.batches, Tensor | Mapping) or not isinstance(self.batches, Iterable):
            raise TypeError(
                "batches must be an iterable of inputs or of pairs (inputs, targets), got "
                f"{short_repr(self.batches)}; [x] holds a single batch"
            )
        if self.loss is not None:
            check_callable("loss", self.loss, "a function of output and target, or None")


Order = Literal["magnitude"] | Taylor | Callable[[TiedAxis], Any]


def order_units(model: nn.Module, order: Order = "magnitude") -> dict[str, Tensor]:
    """Sort the units of every tied axis of a variable network, in place, the most useful first.

    At full width the network computes what it did, to rounding. Units are exchanged in all tensors
    that make, scale or use them, running statistics included; a tensor that layers share is sorted
    once. Units of equal score stay in their order. torch's random state is left alone.

    Args:
        model: A variable network each of whose tied axes has a knob of its own; axes that share a
            knob get one order. Of a knob that is not ``rounded`` a unit is what a step adds.
        order: "magnitude": see `magnitude`. A `Taylor` score, from batches. Or a function of one's
            own, which gets a `TiedAxis` and returns a score for each of its units.

    Returns:
        Of each axis, by its name, which unit came first, which second, and so on.

    Raises:
        TypeError: If ``model`` is no module or ``order`` none of these.
        ValueError: If units cannot be exchanged, because something recomputes a tensor, say, or
            scores are not finite numbers, one for each unit; nothing is changed then.

    Example:
        >>> from vsnn_lab import VariableLinear, Width
        >>> hidden = Width(2)
        >>> net = nn.Sequential(VariableLinear(1, hidden, bias=False), VariableLinear(hidden, 1))
        >>> _ = net[0].weight.data.copy_(torch.tensor([[0.1], [3.0]]))
        >>> _ = net[1].weight.data.fill_(1.0)
        >>> order_units(net), net[0].weight.flatten().tolist()
        ({'0.weight': tensor([1, 0])}, [3.0, 0.10000000149011612])
    """
    check_module("model", model)
    if not (
        (isinstance(order, str) and order == "magnitude")
        or isinstance(order, Taylor)
        or callable(order)
    ):
        raise TypeError(
            'order must be "magnitude", a Taylor score or a function of a TiedAxis, got '
            f"{short_repr(order)}"
        )
    uses = {control: each for control, each in tied_axes(model).items() if each}
    if isinstance(order, Taylor):
        scores = _taylor_scores(model, uses, order)
    else:
        score: Callable[[TiedAxis], Any] = magnitude if isinstance(order, str) else order
        scores = {control: _ask(score, _readable(each)) for control, each in uses.items()}
    orders = {
        control: _descending(uses[control], values).argsort(descending=True, stable=True)
        for control, values in scores.items()
    }
    with torch.no_grad():
        for control, permutation in orders.items():
            for use in uses[control]:
                _permute(use, permutation)
    return {uses[control][0].name: permutation for control, permutation in orders.items()}


def check_order(order: Any) -> None:
    """Refuse what does not say how units are ordered; None is not to."""
    named = isinstance(order, str) and order == "magnitude"
    known = order is None or named or isinstance(order, Taylor)
    if not (known or callable(order)):
        raise TypeError(
            'order must be "magnitude", a Taylor score or a function of a TiedAxis, got '
            f"{short_repr(order)}"
        )


def magnitude(axis: TiedAxis) -> Tensor:
    """Return the product of the norms of what belongs to each unit, in all weights.

    Of every tensor of an axis but running statistics and biases, which say little of how much a
    unit counts.
    """
    scores = torch.zeros(axis.units, dtype=torch.float64)
    for name, values in axis.tensors.items():
        if not name.split(" ")[0].endswith(("bias", "running_mean", "running_var")):
            norms = values.double().norm(dim=1)
            scores += (
                (norms / norms.square().mean().sqrt().clamp(min=1e-300)).clamp(min=1e-12).log()
            )
    return scores


def _ask(score: Callable[[TiedAxis], Any], axis: TiedAxis) -> Any:
    try:
        return score(axis)
    except TypeError as error:
        raise TypeError(f"order must be a function of a TiedAxis, got one that says {error}") from (
            error
        )


def _readable(uses: list[UnitUse]) -> TiedAxis:
    with torch.no_grad():
        tensors = {use.name: use.by_unit(use.tensor.detach()).cpu() for use in uses}
    return TiedAxis(uses[0].name, len(uses[0].places), tensors)


def _descending(uses: list[UnitUse], scores: Any) -> Tensor:
    """Return checked scores of an axis, whose order is asked for."""
    units, name = len(uses[0].places), uses[0].name
    try:
        found = torch.as_tensor(scores).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        found = torch.empty(0)
    if found.shape != (units,) or found.is_complex() or not found.isfinite().all():
        raise ValueError(
            f"order must give a finite number for each of the {units} units of {name!r}, got "
            f"{short_repr(scores)}"
        )
    return found


def _permute(use: UnitUse, permutation: Tensor) -> None:
    index = torch.arange(use.tensor.shape[use.dim])
    index[use.places.flatten()] = use.places[permutation].flatten()
    use.tensor.copy_(use.tensor.index_select(use.dim, index.to(use.tensor.device)))


def _taylor_scores(
    model: nn.Module, uses: Mapping[WidthControl, list[UnitUse]], order: Taylor
) -> dict[WidthControl, Tensor]:
    parameters = {
        id(use.tensor): use.tensor
        for each in uses.values()
        for use in each
        if isinstance(use.tensor, nn.Parameter)
    }
    scores = {
        control: torch.zeros(len(each[0].places), dtype=torch.float64)
        for control, each in uses.items()
    }
    generator, seen = torch.Generator().manual_seed(0), 0
    full = {control: control.steps for control in uses}
    gradients_of = _with_gradients(parameters.values())
    with evaluated_privately(model), gradients_of, at_width(model, full):
        for batch in order.batches:
            value = _value(model, batch, order.loss, generator)
            found = torch.autograd.grad(value, [*parameters.values()], allow_unused=True)
            gradients = dict(zip(parameters, found, strict=True))
            for control, each in uses.items():
                for use in each:
                    gradient = gradients.get(id(use.tensor))
                    if gradient is not None:
                        product = use.by_unit(gradient * use.tensor.detach()).double()
                        scores[control] += product.sum(1).abs().cpu()
            seen += 1
    if not seen:
        raise ValueError("batches must hold at least one batch, got none; it is read only once")
    return {control: total / seen for control, total in scores.items()}


def _value(model: nn.Module, batch: Any, loss: Any, generator: torch.Generator) -> Tensor:
    if loss is not None:
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise TypeError(
                f"batches must hold pairs (inputs, targets) for a loss, got {short_repr(batch)}"
            )
        value: Tensor = loss(call(model, batch[0]), batch[1])
        return value
    output = call(model, batch)
    if not isinstance(output, Tensor):
        raise TypeError(
            f"model must return a tensor where Taylor has no loss, got {type(output).__name__}"
        )
    # The mean square of a unit's effect on the output is that along random signs.
    signs = torch.randint(0, 2, output.shape, generator=generator) * 2 - 1
    return (output * signs.to(output)).sum() / len(output)


@contextmanager
def _with_gradients(parameters: Iterable[Tensor]) -> Iterator[None]:
    """Let parameters have gradients for a while, also those that do not train."""
    frozen = [each for each in parameters if not each.requires_grad]
    try:
        for each in frozen:
            each.requires_grad_(True)
        with torch.enable_grad():
            yield
    finally:
        for each in frozen:
            each.requires_grad_(False)
