"""What a run was asked to do, in a form that JSON can hold and that is the same in every process.

Everything that decides what a run computes is a setting: values, the bytes of tensors and arrays,
code with the constants and callables that it uses, and the attributes of objects, private too.
What changes while it runs is state and no setting: attributes and variables that its code writes,
lists and dicts that a function or a network uses, a network's mode, a random generator's position.
Torch, the standard library and installed packages are known by name, not by their code.
"""

import contextlib
import dis
import functools
import hashlib
import inspect
import json
import re
import sys
import types
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from vsnn_lab._basics import checkpoints

# The methods of samplers, losses, networks, recipes and batches that a run calls.
_RUN_METHODS = ("__call__", "__getitem__", "__iter__", "__len__", "forward", "losses", "set_epoch")
# What a module has before anyone sets anything, and what accelerate notes on it.
_BOOKKEEPING = {*vars(nn.Module()), "_is_accelerate_prepared"}


def describe(value: Any, _enclosing: tuple[int, ...] = ()) -> Any:
    """Return what JSON can hold of a setting: equal settings alike, different ones apart."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if id(value) in _enclosing:
        return "itself"
    inner = functools.partial(describe, _enclosing=(*_enclosing, id(value)))
    match value:
        case Mapping():
            return {_to_json(inner(key)): inner(item) for key, item in value.items()}
        case tuple() | list():
            return [inner(item) for item in value]
        case set() | frozenset():
            return sorted(_to_json(inner(item)) for item in value)
        case Tensor():
            return checkpoints.digest([value])
        case np.ndarray() | np.generic():
            digest = hashlib.sha256(value.tobytes()).hexdigest()
            return [str(value.dtype), list(value.shape), digest]
        case nn.Module():
            return [inner(structure(value)), checkpoints.digest(value.state_dict())]
        case functools.partial():
            return inner([value.func, value.args, value.keywords])
        case types.MethodType():
            return inner([value.__func__, value.__self__])
        case types.FunctionType():
            code = [] if _is_from_library(value) else _describe_code(value.__code__)
            used = [value.__defaults__, value.__kwdefaults__, _used_constants(value)]
            return [_qualified_name(value), code, inner(used)]
        case type():
            return [_qualified_name(value), inner(_used_members(value))]
        case types.ModuleType():
            return value.__name__
    if not hasattr(value, "__dict__") and hasattr(value, "__qualname__"):
        return _qualified_name(value)  # a built-in function
    return [inner(type(value)), inner(_constant_attributes(value))]


def structure(model: nn.Module) -> list[Any]:
    """Return what a network is apart from its weights, mode and containers, for `describe`."""
    settings = {
        name: {
            key: item
            for key, item in _constant_attributes(module).items()
            if key not in _BOOKKEEPING and _is_constant(item) and not inspect.ismethod(item)
        }
        for name, module in model.named_modules()
    }
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    return [_stable_repr(model), settings, trained, {type(module) for module in model.modules()}]


def _to_json(description: Any) -> str:
    return json.dumps(description, sort_keys=True)


def _qualified_name(value: Any) -> str:
    return f"{getattr(value, '__module__', None)}.{value.__qualname__}"


def _stable_repr(value: Any) -> str:
    """Return the repr without addresses in memory, which differ from process to process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def _is_from_library(value: Any) -> bool:
    """Whether a function or a class is Python's, torch's or another installed package's."""
    package = (value.__module__ or "builtins").partition(".")[0]
    file = getattr(sys.modules.get(package), "__file__", None) or ""
    installed = package in sys.stdlib_module_names or re.search("(site|dist)-packages", file)
    return package != "__main__" and bool(installed)


def _is_constant(value: Any) -> bool:
    """Whether code is taken to use a value without changing it in place."""
    return callable(value) or isinstance(value, int | float | str | tuple | Tensor | np.ndarray)


def _constant_attributes(value: Any) -> dict[str, Any]:
    """Return an object's attributes, without those that change when it is used."""
    default_repr: Any = object.__repr__
    if hasattr(value, "__dict__"):
        found = vars(value)
    elif type(value).__repr__ is not default_repr:
        return {"repr": _stable_repr(value)}
    else:
        slots: Any = object.__getstate__(value)
        found = slots[1] if slots else {}
    written = _written_attributes(type(value))
    return {name: item for name, item in found.items() if name not in written}


def _written_attributes(cls: type) -> set[str]:
    """Return the attributes that the methods that a run calls write."""
    members: list[Any] = [vars(base).get(name) for base in cls.__mro__ for name in _RUN_METHODS]
    functions = [each for each in map(inspect.unwrap, members) if inspect.isfunction(each)]
    return {name for each in functions for name in _names_in_code(each.__code__, "STORE_ATTR")}


def _used_members(cls: type) -> list[tuple[str, Any]]:
    """Return the methods and constants of a class and its bases that a run may use."""
    written = _written_attributes(cls)
    found = [
        # A property's function, and a class method's.
        (name, getattr(item, "fget", getattr(item, "__func__", item)))
        for base in cls.__mro__
        if not _is_from_library(base)
        for name, item in vars(base).items()
        if name in _RUN_METHODS or not (name.startswith("__") or name in written)
    ]
    return [(name, item) for name, item in found if _is_constant(item)]


def _describe_code(code: types.CodeType) -> list[Any]:
    constants = [
        _describe_code(item)
        if isinstance(item, types.CodeType)
        # The repr of a set of strings differs from process to process.
        else sorted(map(repr, item))
        if isinstance(item, frozenset)
        else repr(item)
        for item in code.co_consts
    ]
    return [hashlib.sha256(code.co_code).hexdigest(), list(code.co_names), constants]


def _used_constants(function: types.FunctionType) -> dict[str, Any]:
    """Return the constants that a function takes from around it: its closure, and globals."""
    code, found = function.__code__, {}
    if not _is_from_library(function):
        scope, names = function.__globals__, sorted(_names_in_code(code, "LOAD_GLOBAL"))
        found = {name: scope[name] for name in names if name in scope}
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # not filled yet
            found[name] = cell.cell_contents
    written = _names_in_code(code, "STORE_GLOBAL", "STORE_DEREF")
    return {k: v for k, v in found.items() if k not in written and _is_constant(v)}


def _names_in_code(code: types.CodeType, *operations: str) -> set[str]:
    """Return the names that these operations of a code touch, inner functions' too."""
    found = {i.argval for i in dis.get_instructions(code) if i.opname in operations}
    inner = [item for item in code.co_consts if isinstance(item, types.CodeType)]
    return found.union(*(_names_in_code(item, *operations) for item in inner))
