"""Cut one width out of a variable network, as plain dense PyTorch."""

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from vsnn_lab.layers import VariableLayer
from vsnn_lab.widths import Position, WidthControl, positions_of, width_controls


def extract(model: nn.Module, width: int | Mapping[WidthControl, int]) -> nn.Module:
    """Return the submodel of one width: a deep copy in plain ``torch.nn``.

    Variable layers become the torch layers they derive from, with the first units of their
    parameters; this package's models become the ``nn.Sequential`` that they are; a user's module
    keeps its class, and its `Width` attributes become ints. Training mode, device and dtype stay,
    torch's random state is left alone, and ``model`` is not changed. Of a network that
    ``torch.compile`` made the original is cut.

    Args:
        model: A module with variable axes; one without any is copied.
        width: Knob position, an int in 1..steps; a dict for a model with several knobs, where
            knobs that it leaves out are cut at full width.

    Raises:
        TypeError: If ``width`` is not an integer, or a module inherits from one of this package.
        ValueError: If it lies outside the range.

    Example:
        >>> from vsnn_lab import MLP, Width
        >>> extract(MLP(784, (Width(256),), 10), 64)[0]
        Linear(in_features=784, out_features=64, bias=True)
    """
    # What torch.compile made holds the network; its cut is compiled anew if one wants that.
    model = getattr(model, "_orig_mod", model)
    positions = cut_positions(model, width)
    # Whatever the copy meets it looks up in the memo first, so what is put there takes its place:
    # cut parameters for whole ones, and numbers for knobs (`Width` does the rest).
    memo: dict[int, Any] = {id(control): position for control, position in positions.items()}
    for name, module in model.named_modules():
        _plain_class(module)
        parts = module.modules()
        if "forward" in vars(module) and any(isinstance(part, VariableLayer) for part in parts):
            raise TypeError(
                f"{name or 'model'} must have the forward of its class to be extracted, got one "
                "of its own, which would run the whole network; put it into a class"
            )
        if isinstance(module, VariableLayer):
            memo |= _cut_tensors(module, positions)
    cut = copy.deepcopy(model, memo)
    for module in list(cut.modules()):
        _make_plain(module)
    return cut


def cut_positions(
    model: nn.Module, width: int | Mapping[WidthControl, Position]
) -> dict[WidthControl, int]:
    """Return an int position for every knob of ``model``.

    Raises:
        TypeError: If a width is not an integer; a width per sample cannot be cut.
        ValueError: If it lies outside the range.
    """
    controls = width_controls(model)
    if not controls and not isinstance(width, Mapping):
        return {}
    positions = {control: control.steps for control in controls}
    for control, position in positions_of(model, width).items():
        if isinstance(position, Tensor):
            raise TypeError(
                f"width must be an integer, got a tensor of shape {tuple(position.shape)}; "
                "a submodel has one width"
            )
        positions[control] = position
    return positions


def _cut_tensors(layer: VariableLayer, positions: Mapping[WidthControl, int]) -> dict[int, Tensor]:
    cuts = {}
    for name, part in layer.cut(positions).items():
        whole = getattr(layer, name)
        if isinstance(whole, nn.Parameter):
            part = nn.Parameter(part, requires_grad=whole.requires_grad)
        cuts[id(whole)] = part
    return cuts


def _plain_class(module: nn.Module) -> type:
    """Return the torch class that a module of ours derives from, or the module's own class."""
    classes = type(module).__mro__
    ours = [cls for cls in classes if cls.__module__.partition(".")[0] == "vsnn_lab"]
    if not ours:
        return classes[0]
    if ours[0] is not classes[0]:
        raise TypeError(
            f"{classes[0].__name__} must not inherit from {ours[0].__name__} to be extracted: "
            "its plain form is unknown; hold the module as an attribute instead"
        )
    return next(cls for cls in classes if cls not in ours)


def _make_plain(module: nn.Module) -> None:
    plain = _plain_class(module)
    if isinstance(module, VariableLayer):
        sizes = module.plain_sizes
        for name in module.own_attributes:
            delattr(module, name)
        vars(module).update(sizes)
    module.__class__ = plain
