"""Cut one width out of a variable network, as plain dense PyTorch."""

import copy
from collections.abc import Hashable, Mapping
from operator import attrgetter
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations
from torch.optim.swa_utils import AveragedModel

from vsnn_lab.layers import VariableLayer
from vsnn_lab.layers.base import ask_for_forward
from vsnn_lab.layers.own_forward import OwnForward
from vsnn_lab.layers.own_parts import OwnParts
from vsnn_lab.layers.plain_attention import CutMultiheadAttention
from vsnn_lab.layers.recomputed import detached_copies, evaluated_tensors, strip_recomputed
from vsnn_lab.networks import plain_language_model
from vsnn_lab.networks.config_sizes import update_configs
from vsnn_lab.networks.notes import NOTES
from vsnn_lab.networks.tensor_uses import held_tensor, holder, tensor_uses
from vsnn_lab.widths import Position, WidthControl, positions_of, width_controls

# Of these the rest is what their plain class has.
_KEEP_THE_REST = (OwnForward, OwnParts)
# What a cut may hold that is this package's: files that need nothing but torch.
_PLAIN_FILES = (CutMultiheadAttention.__module__, plain_language_model.__name__)
# What torch puts a network into; its state_dict names have another prefix there.
_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)


def extract(model: nn.Module, width: int | Mapping[WidthControl, int]) -> nn.Module:
    """Return the submodel of one width: a deep copy in plain ``torch.nn``.

    Variable layers become the torch layers they derive from, with the first units of their
    parameters; of attention whose heads no longer fit its embedding, for which torch has no layer,
    `vsnn_lab.layers.plain_attention.CutMultiheadAttention` is left. This package's models become
    the ``nn.Sequential`` that they are, a language model a
    `vsnn_lab.networks.plain_language_model.PlainLanguageModel`; a user's module keeps its class,
    and its `Width` attributes become ints; so do the sizes in a ``config`` that names them as those
    of transformers do. Training mode, device, dtype and hooks stay, torch's random state is left
    alone, and ``model`` is not changed. What pruning, weight and spectral norm or a parametrization
    make of a variable layer's weight becomes its weight, and layers that share a weight share it
    still where both keep the same of it. Of a network that ``torch.compile``, ``nn.DataParallel``
    or `torch.optim.swa_utils.AveragedModel` holds the network itself is cut.

    Args:
        model: A module with variable axes; one without any is copied.
        width: Knob position, an int in 1..steps; a dict for a model with several knobs, where
            knobs that it leaves out are cut at full width.

    Raises:
        TypeError: If ``width`` is not an integer, or a module inherits from one of this package and
            does not say what its plain class is (`VariableLayer`).
        ValueError: If it lies outside the range, or something that is not torch's recomputes a
            variable layer's weight.

    Example:
        >>> from vsnn_lab import MLP, Width
        >>> extract(MLP(784, (Width(256),), 10), 64)[0]
        Linear(in_features=784, out_features=64, bias=True)
    """
    model = inner_network(model)
    positions = cut_positions(model, width)
    for name, module in model.named_modules():
        plain_class(module)
        _check_forward(name, module)
    parts = _cut_tensors(model, positions)
    # Whatever the copy meets it looks up in the memo first, so what is put there takes its place:
    # cut parameters for whole ones, and numbers for knobs (`Width` does the rest).
    memo: dict[int, Any] = {id(control): position for control, position in positions.items()}
    memo |= detached_copies(model)
    for (module, name), part in parts.items():
        if isinstance(module, VariableLayer) and (whole := held_tensor(module, name)) is not None:
            memo.setdefault(id(whole), part)
    cut = copy.deepcopy(model, memo)
    for module in list(cut.modules()):
        _make_plain(module)
    for module in cut.modules():
        if isinstance(module, nn.TransformerEncoder):
            _keep_off_nested_tensors(module)
    for (module, name), part in parts.items():
        owner, own_name = holder(memo[id(module)], name)
        if isinstance(module, VariableLayer):
            # What was recomputed is a parameter again, where the plain layer has it.
            owner._parameters.pop(own_name, None)
        setattr(owner, own_name, part)
    update_configs(cut, model, positions)
    return cut


def inner_network(model: nn.Module) -> nn.Module:
    """Return the network that ``torch.compile``, data parallelism or averaging put into another."""
    inner: nn.Module | None = model
    while isinstance(inner, nn.Module):
        model = inner
        name = "module" if isinstance(model, _WRAPPERS) else "_orig_mod"
        inner = model._modules.get(name)
    return model


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


def _cut_tensors(
    model: nn.Module, positions: Mapping[WidthControl, int]
) -> dict[tuple[nn.Module, str], Tensor]:
    """Return the submodel's tensors by module and name: the variable ones, and what is tied to one.

    A module that is not variable takes all of what it shares with a layer that is.
    """
    uses = list(tensor_uses(model, positions))
    by_key: dict[Hashable, Tensor] = {}
    parts: dict[tuple[nn.Module, str], Tensor] = {}
    cut: set[int] = set()
    for layer in model.modules():
        if not isinstance(layer, VariableLayer):
            continue
        keys = {use.name: use.key for use in uses if use.module is layer}
        with evaluated_tensors(layer):
            for name, part in layer.cut(positions).items():
                if name not in keys:
                    continue
                if name in layer.parameter_axes:
                    trains = attrgetter(name)(layer).requires_grad
                    part = nn.Parameter(part.detach(), requires_grad=trains)
                parts[layer, name] = by_key.setdefault(keys[name], part)
                cut.add(id(held_tensor(layer, name)))
    for module, name, _, key, _ in uses:
        whole = held_tensor(module, name)
        if whole is not None and id(whole) in cut and (module, name) not in parts:
            parts[module, name] = by_key.setdefault(key, copy.deepcopy(whole))
    return parts


def _check_forward(name: str, module: nn.Module) -> None:
    # That which torch.compile gives the module that it makes runs the copy.
    own = "forward" in vars(module) and "_orig_mod" not in module._modules
    if own and any(isinstance(part, VariableLayer) for part in module.modules()):
        raise TypeError(
            f"{name or 'model'} must have the forward of its class to be extracted, got one "
            "of its own, which would run the whole network; put it into a class"
        )


def plain_class(module: nn.Module) -> type:
    """Return the torch class that a module of ours derives from, or the module's own class."""
    classes = type_before_parametrizations(module).__mro__
    declared = vars(classes[0]).get("plain_class") if isinstance(module, VariableLayer) else None
    if declared is not None:
        if not (isinstance(declared, type) and isinstance(module, declared)):
            raise TypeError(
                f"plain_class of {classes[0].__name__} must be a torch layer that it derives "
                f"from, got {declared!r}"
            )
        return declared
    ours = [cls for cls in classes if cls.__module__.partition(".")[0] == "vsnn_lab"]
    ours = [cls for cls in ours if cls.__module__ not in _PLAIN_FILES]
    if not ours:
        return type(module)
    if ours[0] is not classes[0]:
        way_out = "hold the module as an attribute instead"
        if isinstance(module, VariableLayer):
            way_out = f"name it in the class, as VariableLayer says, or {way_out}"
        raise TypeError(
            f"{classes[0].__name__} must not inherit from {ours[0].__name__} to be extracted: "
            f"its plain form is unknown; {way_out}"
        )
    form = module.plain_form if isinstance(module, VariableLayer) else None
    form = form or next(cls for cls in classes if cls not in ours)
    # A network of ours with a forward of its own, which is no torch module's, stays what it is.
    return type(module) if form is nn.Module else form


def _make_plain(module: nn.Module) -> None:
    plain = plain_class(module)
    vars(module).pop(NOTES, None)
    if isinstance(module, VariableLayer):
        strip_recomputed(module)
        sizes, known = module.plain_sizes, {*module.parameter_axes, *module.buffer_axes}
        known |= module.inner_modules
        instead = module.plain_module()
        for name in module.own_attributes:
            if hasattr(module, name):  # unless it was recomputed, and has been taken off
                delattr(module, name)
        for key, hook in list(module._forward_pre_hooks.items()):
            if hook is ask_for_forward:
                del module._forward_pre_hooks[key]
        for name, size in sizes.items():
            owner, name = holder(module, name)
            vars(owner)[name] = size
        held = {*module._parameters, *module._buffers, *module._modules}
        more = sorted(held - known - {"num_batches_tracked"})
        if more and module.plain_class and not isinstance(module, _KEEP_THE_REST):
            raise TypeError(
                f"own_attributes of {type(module).__name__} must name what {plain.__name__} does "
                f"not have, {', '.join(more)} included"
            )
        if instead is not None:
            # In place, since a list or another module may hold it, too; and hooks are its own.
            module._modules.update(instead._modules)
            plain = type(instead)
    module.__class__ = plain


def _keep_off_nested_tensors(encoder: nn.TransformerEncoder) -> None:
    # As torch's constructor does where attention does not take them.
    if any(isinstance(part, CutMultiheadAttention) for part in encoder.modules()):
        encoder.use_nested_tensor = False
