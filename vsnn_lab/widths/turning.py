"""Which knobs a model has, and `at_width`, which turns them for a while."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self

from torch import Tensor, nn

from vsnn_lab._basics.checks import check_module, short_repr
from vsnn_lab.widths.axes import VariableSize, Width
from vsnn_lab.widths.fast_path import FastPathSwitch
from vsnn_lab.widths.knob import Position, WidthControl
from vsnn_lab.widths.setting import Setting

_fast_path = FastPathSwitch()


def width_controls(model: nn.Module) -> list[WidthControl]:
    """Return the knobs behind the axes of ``model``, each once, in the order of its modules.

    Raises:
        TypeError: If ``model`` is no module.
        ValueError: If torch has put a layer of full width in place of a variable one.
    """
    check_module("model", model)
    found: dict[WidthControl, None] = {}
    for name, module in model.named_modules():
        for value in vars(module).values():
            if not isinstance(value, (Width, WidthControl, VariableSize)):
                continue
            if isinstance(value, VariableSize):
                raise ValueError(
                    f"model must keep its variable layers, got {type(module).__name__} at {name!r} "
                    "in place of one, as convert_sync_batchnorm makes it; leave variable batch "
                    "norms as they are, or convert what `extract` returns"
                )
            found |= dict.fromkeys(value.controls if isinstance(value, Width) else [value])
    return list(found)


def single_control(model: nn.Module) -> WidthControl:
    """Return the one knob of ``model``.

    Raises:
        ValueError: If it has no knob, or several.
    """
    controls = width_controls(model)
    if not controls:
        raise ValueError("model must have a variable axis, got none; build a layer with a Width")
    if len(controls) > 1:
        raise ValueError(
            f"model must have one knob for a single width, got {len(controls)}: {controls}; "
            "pass a dict[WidthControl, int]"
        )
    return controls[0]


def positions_of(model: nn.Module | WidthControl, width: Any) -> dict[WidthControl, Position]:
    """Resolve ``width`` into a checked position for each knob it names.

    Args:
        model: A module, or one knob.
        width: An int or a width vector for a single knob, or a dict from knobs to either.

    Raises:
        TypeError: If ``model`` or a width has the wrong type.
        ValueError: If a width lies outside its range or a knob is not the model's.
    """
    if isinstance(model, WidthControl):
        own = [model]
    elif isinstance(width, Mapping):
        own = width_controls(model)
    else:
        own = [single_control(model)]
    if not isinstance(width, Mapping):
        return {own[0]: own[0].check(width)}
    for control in width:
        if control not in own:
            raise ValueError(
                f"width must name knobs of the model, got {short_repr(control)}; it has {own}"
            )
    return {control: control.check(value) for control, value in width.items()}


class at_width:  # noqa: N801 - reads as a verb, like torch.no_grad
    """Run a model at a reduced width: ``with at_width(net, 64): net(x)``.

    Restores what was there before, also after an exception. An int slices: layers use only their
    first units, and the work shrinks with them. A vector of one width per sample masks: the batch
    stays whole and each sample sees zeros beyond its width (Staley & Markowitz 2022).

    The position lives on the knob, so two threads must not hold one model at different widths.

    Args:
        model_or_control: A module with variable axes, or a `WidthControl`.
        width: An int in 1..steps; a LongTensor of shape (batch,); or a ``dict[WidthControl, int]``
            for a model with several knobs (knobs that it leaves out stay as they are).

    Raises:
        TypeError: If a width is not an integer, a float say.
        ValueError: If a width lies outside the range, or the model has no knob or several.

    Example:
        >>> knob = WidthControl(8)
        >>> with at_width(knob, 3):
        ...     knob.position
        3
        >>> knob.position
        8
    """

    def __init__(
        self,
        model_or_control: nn.Module | WidthControl,
        width: int | Tensor | Mapping[WidthControl, int],
    ) -> None:
        if not isinstance(model_or_control, nn.Module | WidthControl):
            raise TypeError(
                "model_or_control must be a torch.nn.Module or a WidthControl, got "
                f"{short_repr(model_or_control)}"
            )
        self._positions = positions_of(model_or_control, width)
        self._before: list[tuple[dict[WidthControl, Setting], bool]] = []

    def __enter__(self) -> Self:
        before = {control: control.setting for control in self._positions}
        self._before.append((before, _compile_for_any_position(True)))
        _fast_path.turn_off()
        for control, position in self._positions.items():
            widest = position if isinstance(position, int) else control.steps
            control._setting = Setting(position, widest, control.setting.series, turned=True)
        return self

    def __exit__(self, *exception: object) -> None:
        settings, flag = self._before.pop()
        for control, setting in settings.items():
            control._setting = setting
        _fast_path.turn_back()
        _compile_for_any_position(flag)


@contextmanager
def with_setting(control: WidthControl, **changes: Any) -> Iterator[None]:
    """Change a part of where a knob stands, say its ``widest`` position, for a while.

    Args:
        control: The knob.
        changes: Attributes of its `Setting`, and what they become.
    """
    before = control.setting
    control._setting = replace(before, **{"memo": {}} | changes)
    try:
        yield
    finally:
        control._setting = before


def _compile_for_any_position(value: bool) -> bool:
    """Let torch.compile treat positions as sizes that vary, while a knob is turned.

    It takes ints below a module for constants otherwise, and compiles anew for every width. The
    flag goes back when the knob does; a program that never compiles does not pay for it.

    Returns:
        The flag as it was.
    """
    config: Any = sys.modules.get("torch._dynamo.config")
    if config is None:
        return value
    before = config.allow_unspec_int_on_nn_module
    if before != value:
        config.allow_unspec_int_on_nn_module = value
    return before
