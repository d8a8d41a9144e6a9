"""Who holds the tensors of a network: known layers, layers that share one, other modules."""

from collections.abc import Collection, Mapping

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from vsnn_lab.networks.graph.layer_rules import LAYERS, WEIGHTS
from vsnn_lab.networks.graph.units import Dim, fixed


def owners(model: nn.Module, others: Collection[str]) -> dict[str, list[str]]:
    """Return the known layers that hold a tensor, by any of its names."""
    holders: dict[int, list[str]] = {}
    names: dict[str, int] = {}
    for prefix, module in model.named_modules(remove_duplicate=False):
        for name, value in {**module._parameters, **module._buffers}.items():
            names[f"{prefix}.{name}".lstrip(".")] = id(value)
            # What hooks recompute is read before the forward that it is for.
            known = type(module) in LAYERS or prefix in others
            if value is not None and known and not module._forward_pre_hooks:
                holders.setdefault(id(value), []).append(prefix)
    return {name: holders[key] for name, key in names.items() if key in holders}


def holders(model: nn.Module, others: Collection[str], excluded: Collection[str]) -> set[str]:
    """Return the names of parameters that modules hold which are no known layers."""
    inside = tuple(f"{name}." for name in excluded)
    counts: dict[int, int] = {}
    for module in model.modules():
        for value in module._parameters.values():
            counts[id(value)] = counts.get(id(value), 0) + 1
    found = set()
    for prefix, module in model.named_modules():
        own = type(module) not in LAYERS and prefix not in others and prefix not in excluded
        ours = type(module).__module__.startswith("torch.nn") or prefix.startswith(inside)
        plain = type(type(module)) is type and not is_parametrized(module)
        if own and plain and not ours and "forward" not in vars(module):
            for name, value in module._parameters.items():
                if value is not None and counts[id(value)] == 1:
                    found.add(f"{prefix}.{name}".lstrip("."))
    return found


def tied(model: nn.Module, layers: Mapping[str, object]) -> dict[int, list[str]]:
    """Return the layers that were called and share a weight, by the weight."""
    by_weight: dict[int, list[str]] = {}
    for name in layers:
        weight = model.get_submodule(name)._parameters.get("weight")
        if weight is not None and type(model.get_submodule(name)) in WEIGHTS:
            by_weight.setdefault(id(weight), []).append(name)
    return {key: names for key, names in by_weight.items() if len(names) > 1}


def weight_dims(
    model: nn.Module, name: str, layers: Mapping[str, Mapping[str, Dim]]
) -> tuple[Dim, ...]:
    """Return the dimensions of a layer's weight, as far as they lie on its axes."""
    module = model.get_submodule(name)
    names = WEIGHTS[type(module)](module)
    sizes = module.get_parameter("weight").shape
    return tuple(
        layers[name].get(axis or "", fixed(size)) for axis, size in zip(names, sizes, strict=False)
    )
