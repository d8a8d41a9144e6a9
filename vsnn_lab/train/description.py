"""What a run was asked to do, in a form that JSON can hold and that is the same in every process.

Everything that decides what a run computes is a setting: values, the bytes of tensors and arrays,
code with the constants and callables that it uses, and the attributes of objects, private too.
What changes while it runs is state and no setting: attributes and variables that its code writes,
lists and dicts that it changes, a network's mode, a random generator's position.
Of data, state counts, too, because what they give follows from it.
Torch, the standard library and installed packages are known by name, not by their code.
"""

import collections
import functools
import hashlib
import inspect
import json
import random
import re
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vsnn_lab._basics import checkpoints
from vsnn_lab.networks.notes import NOTES
from vsnn_lab.train.introspection import (
    changes_containers,
    closure_of,
    held_attributes,
    held_items,
    is_builtin_function,
    is_from_library,
    names_in_code,
    underlying_function,
    values_used,
    wrapped_function,
)
from vsnn_lab.widths import Width

# The methods of samplers, losses, networks, recipes and batches that a run calls.
_RUN_METHODS = (
    *("__call__", "__getitem__", "__getitems__", "__iter__", "__len__", "__next__"),
    *("forward", "losses", "set_epoch"),
)
# What a module has before anyone sets anything, and what accelerate and `make_variable` note on it.
BOOKKEEPING = {*vars(nn.Module()), "_is_accelerate_prepared", NOTES}
_SEQUENCES = (list, tuple, torch.Size, collections.deque)
_MAPPINGS = (dict, collections.OrderedDict, collections.defaultdict, types.MappingProxyType)


def describe(value: Any, *, state: bool = False) -> Any:
    """Return what JSON can hold of a setting: equal settings alike, different ones apart.

    Args:
        value: Whatever decides what a run computes.
        state: Count what changes while a run uses it, too, as it is now. What the value's own
            ``set_epoch`` writes is left out, since `fit` calls it.
    """
    return _Description(value if state else None).of(value)


class _Description:
    def __init__(self, data: Any) -> None:
        self._data, self._state = data, data is not None
        self._enclosing: set[int] = set()
        self._numbers: dict[int, int] = {}  # functions and classes, as they are first met

    def of(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if id(value) in self._enclosing:
            return "itself"
        if isinstance(value, types.FunctionType | type):
            if id(value) in self._numbers:
                return f"number {self._numbers[id(value)]}"
            self._numbers[id(value)] = len(self._numbers)
        self._enclosing.add(id(value))
        try:
            return self._describe(value)
        finally:
            self._enclosing.remove(id(value))

    def _describe(self, value: Any) -> Any:
        inner, kind = self.of, type(value)
        if kind in _MAPPINGS:
            return {_to_json(inner(key)): inner(item) for key, item in value.items()}
        if kind in _SEQUENCES:
            return [inner(item) for item in value]
        if kind in (set, frozenset):
            return self._describe_set(value)
        if self._state and (fingerprint := fingerprint_of(value)) is not None:
            return [_qualified_name(kind), fingerprint]
        match value:
            case Tensor():
                return checkpoints.digest([value])
            case np.ndarray() | np.generic() if value.dtype.hasobject:
                return [str(value.dtype), list(value.shape), inner(value.tolist())]
            case np.ndarray() | np.generic():
                digest = hashlib.sha256(value.tobytes()).hexdigest()
                return [str(value.dtype), list(value.shape), digest]
            case nn.Module():
                digest = checkpoints.digest(value.state_dict())
                return [inner(structure(value, state=self._state)), digest]
            case functools.partial():
                return inner([value.func, value.args, value.keywords])
            case types.MethodType():
                return inner([value.__func__, value.__self__])
            case types.FunctionType():
                return self._describe_function(value)
            case type():
                return [_qualified_name(value), inner(self._members(value))]
            case types.ModuleType():
                return value.__name__
            case torch.Generator():
                return ["torch.Generator", value.initial_seed()]
        if self._state and (position := _position(value)) is not None:
            return [_qualified_name(kind), inner(position)]
        if (function := wrapped_function(value)) is not None:
            return inner(function)
        if is_builtin_function(value):
            return _qualified_name(value)
        held = [self._attributes(value), *held_items(value)]
        return [inner(kind), *inner(held)]

    def _describe_set(self, value: set[Any] | frozenset[Any]) -> list[str]:
        items, before = [], dict(self._numbers)
        for item in value:
            items.append(_to_json(self.of(item)))
            self._numbers = dict(before)  # since sets have no order
        return sorted(items)

    def _describe_function(self, function: types.FunctionType) -> list[Any]:
        if is_from_library(function):
            code, used = [], closure_of(function)
        else:
            code, used = _describe_code(function.__code__), values_used(function, libraries=False)
        if not self._state:
            written = names_in_code(function.__code__, "STORE_GLOBAL", "STORE_DEREF")
            set_on_objects = names_in_code(function.__code__, "STORE_ATTR")
            changing = changes_containers(function.__code__)
            used = {
                name: item
                for name, item in used.items()
                if name not in written
                and not ("." in name and name.rpartition(".")[2] in set_on_objects)
                and (_is_constant(item) or (not changing and _is_made_of(item, _is_constant)))
            }
        own = [function.__defaults__, function.__kwdefaults__, used]
        if self._state and vars(function):
            own.append(vars(function))
        return [_qualified_name(function), code, self.of(own)]

    def _attributes(self, value: Any) -> dict[str, Any]:
        methods: tuple[str, ...] = _RUN_METHODS
        if self._state and not is_from_library(type(value)):
            methods = ("set_epoch",) if value is self._data else ()
        return attributes(value, methods)

    def _members(self, cls: type) -> list[tuple[str, Any]]:
        """Return the methods and constants of a class and its bases that a run may use."""
        written = set() if self._state else _written_attributes(cls, _RUN_METHODS)
        found = [
            (name, underlying_function(item))
            for base in cls.__mro__
            if not is_from_library(base)
            for name, item in vars(base).items()
            if not (name.startswith("__") or name in written) or inspect.isfunction(item)
        ]
        if self._state:
            return [(name, item) for name, item in found if name != "_abc_impl"]
        return [(name, item) for name, item in found if _is_constant(item)]


def structure(model: nn.Module, *, state: bool = False) -> list[Any]:
    """Return what a network is apart from its weights, mode and state, for `describe`."""
    kept = model.state_dict().keys()
    settings, buffers = {}, {}
    for name, module in model.named_modules():
        fixed = not any(map(changes_containers, _own_code(type(module))))
        own = state and not _is_known(type(module))
        settings[name] = {
            key: item
            for key, item in attributes(module, () if own else _RUN_METHODS).items()
            if key not in BOOKKEEPING
            and (own or _is_constant(item) or (fixed and _is_made_of(item, _is_plain)))
            and not inspect.ismethod(item)
        }
        written = _written_attributes(type(module), () if own else _RUN_METHODS)
        for key, buffer in module.named_buffers(name, recurse=False):
            if key not in kept and key.rpartition(".")[2] not in written:
                buffers[key] = buffer
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    kinds = list(dict.fromkeys(type(module) for module in model.modules()))
    return [stable_repr(model), settings, buffers, trained, kinds, *_uneven_axes(model)]


def _uneven_axes(model: nn.Module) -> list[str]:
    """Return the axes that are joined or on a rounded knob, which not every layer's repr tells."""
    return [
        f"{prefix}.{name}: {axis} on {axis.controls}"
        for prefix, module in model.named_modules()
        for name, axis in vars(module).items()
        if isinstance(axis, Width) and (axis.parts[1:] or axis.control.rounded)
    ]


def stable_repr(value: Any) -> str:
    """Return the repr without addresses in memory, which differ from process to process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def fingerprint_of(data: Any) -> str | None:
    """Return what a data set says that it is, if it does."""
    if isinstance(data, type) or inspect.getattr_static(data, "data_fingerprint", None) is None:
        return None
    said = data.data_fingerprint
    return said if isinstance(said, str) else None


def _is_known(cls: type) -> bool:
    """Whether a module's class is torch's or this package's, whose repr says what it is."""
    return cls.__module__.startswith(("torch.", "vsnn_lab."))


def _to_json(description: Any) -> str:
    return json.dumps(description, sort_keys=True)


def _qualified_name(value: Any) -> str:
    return f"{getattr(value, '__module__', None)}.{value.__qualname__}"


def _position(value: Any) -> Any:
    """Return where a generator of random numbers stands, or None if it is none."""
    match value:
        case np.random.Generator():
            return value.bit_generator.state
        case np.random.RandomState():
            return value.get_state(legacy=False)
        case random.Random():
            return value.getstate()
    return None


def _is_constant(value: Any) -> bool:
    """Whether code is taken to use a value without changing it in place."""
    return callable(value) or isinstance(value, int | float | str | tuple | Tensor | np.ndarray)


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int | float | str)


def _is_made_of(value: Any, allowed: Callable[[Any], bool], depth: int = 8) -> bool:
    """Whether a value is a list, dict or set of nothing else than what is allowed."""
    if type(value) in _MAPPINGS:
        value = list(value.values())
    if type(value) not in (*_SEQUENCES, set, frozenset) or not depth:
        return value is None or allowed(value)
    return all(_is_made_of(item, allowed, depth - 1) for item in value)


def attributes(value: Any, methods: tuple[str, ...] = _RUN_METHODS) -> dict[str, Any]:
    """Return an object's attributes, without those that these methods write."""
    default_repr: Any = object.__repr__
    plain = not hasattr(value, "__dict__") and type(value).__repr__ is not default_repr
    if plain and (is_from_library(type(value)) or not held_attributes(value)):
        return {"repr": stable_repr(value)}
    written = _written_attributes(type(value), methods)
    return {name: item for name, item in held_attributes(value).items() if name not in written}


def _written_attributes(cls: type, methods: tuple[str, ...]) -> set[str]:
    """Return the attributes that these methods write."""
    members: list[Any] = [vars(base).get(name) for base in cls.__mro__ for name in methods]
    functions = [each for each in map(inspect.unwrap, members) if inspect.isfunction(each)]
    return {name for each in functions for name in names_in_code(each.__code__, "STORE_ATTR")}


def _own_code(cls: type) -> list[types.CodeType]:
    """Return the code of a class and its bases, but for what libraries have written."""
    members = [
        item for base in cls.__mro__ if not is_from_library(base) for item in vars(base).values()
    ]
    functions = map(inspect.unwrap, filter(callable, map(underlying_function, members)))
    return [each.__code__ for each in functions if inspect.isfunction(each)]


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
