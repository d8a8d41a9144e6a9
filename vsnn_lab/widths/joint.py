"""Several knobs as one: a joint position turns each of them to the same share of its units."""

from collections.abc import Iterable
from typing import Any, overload

from torch import Tensor, nn

from vsnn_lab._basics.checks import check_int
from vsnn_lab.widths.axes import Width
from vsnn_lab.widths.knob import AnyPosition, WidthControl, check_widths
from vsnn_lab.widths.turning import width_controls


def check_controls(model: nn.Module) -> list[WidthControl]:
    """Return the knobs of a model, at least one.

    Raises:
        TypeError: If ``model`` is no module.
        ValueError: If it has no knob.
    """
    if controls := width_controls(model):
        return controls
    raise ValueError("model must have a variable axis, got none; build a layer with a Width")


def joint_steps(model: nn.Module) -> int:
    """Return how many joint positions a model has: as many as its finest knob."""
    return most_steps(check_controls(model))


def most_steps(controls: Iterable[WidthControl]) -> int:
    """Return the positions of the finest of these knobs."""
    return max(control.steps for control in controls)


@overload
def joint_positions(model: nn.Module, position: int) -> dict[WidthControl, int]: ...


@overload
def joint_positions(model: nn.Module, position: Tensor) -> dict[WidthControl, Tensor]: ...


def joint_positions(model: nn.Module, position: Any) -> dict[WidthControl, Any]:
    """Return the position of each knob at a joint position: the same share of all of them.

    At joint position p of ``joint_steps(model)`` a knob keeps the share p / joint_steps of its own
    steps, rounded up to a whole one. So a network with several knobs has one slider, from 1, where
    all knobs are narrow, to full width. With one knob it is that knob's own position.

    Args:
        model: A module with one knob or several.
        position: An int in 1..joint_steps, or a LongTensor of shape (batch,).

    Returns:
        What each knob stands at then, one position or one for each sample; `at_width`, `extract`
        and `forward_at_widths` take such a dict.

    Raises:
        TypeError: If ``model`` is no module or ``position`` no integer.
        ValueError: If ``position`` lies outside its range, or the model has no knob.

    Example:
        >>> from vsnn_lab import MLP, Width
        >>> net = MLP(4, (Width(8), Width(3)), 2)
        >>> [list(joint_positions(net, position).values()) for position in (1, 4, 8)]
        [[1, 1], [4, 2], [8, 3]]
    """
    controls = check_controls(model)
    return turn_together(controls, check_joint("position", position, most_steps(controls)))


def turn_of(model: nn.Module, position: int) -> int | dict[WidthControl, int]:
    """Return what `at_width` and `extract` take for a joint position, which is not checked.

    That is the position itself for one knob, a dict for several.
    """
    controls = check_controls(model)
    return position if len(controls) == 1 else turn_together(controls, position)


def check_joint(name: str, position: Any, steps: int) -> Any:
    """Return a joint position, or one for each sample, or say what is wrong with it."""
    hint = f"the finest knob has {steps} steps"
    if isinstance(position, Tensor) and position.dim():
        return check_widths(name, position, steps, hint=hint)
    return check_int(name, position, 1, steps, hint=hint)


def turn_together(
    controls: Iterable[WidthControl], position: AnyPosition
) -> dict[WidthControl, AnyPosition]:
    """Return the position of each of these knobs at a joint position, which is not checked."""
    controls = list(controls)
    steps = most_steps(controls)
    # Whole numbers all the way: the share itself would be rounded.
    return {each: (position * each.steps + (steps - 1)) // steps for each in controls}


def knob_layout(model: nn.Module) -> list[Any]:
    """Return which knob each axis of a model stands on, in a form that JSON can hold.

    Knobs are numbered in the order of `width_controls`; what a module's repr shows of an axis
    does not tell whether two of them share a knob.
    """
    numbers = {control: number for number, control in enumerate(width_controls(model))}
    return [
        [name, attribute, repr(value), [numbers[control] for control in _knobs(value)]]
        for name, module in model.named_modules()
        for attribute, value in sorted(vars(module).items())
        if isinstance(value, Width | WidthControl)
    ]


def _knobs(value: Width | WidthControl) -> list[WidthControl]:
    if isinstance(value, WidthControl):
        return [value]
    return [part.control for part in value.parts if part.control is not None]
