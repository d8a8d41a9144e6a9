"""Whether what data give follows from what they hold in memory, so that they can be told apart.

Batches are followed as far as a run can reach: objects, their attributes, the code of their methods
and what that code uses. Tensors, arrays and numbers are known by their values, functions of torch
and NumPy by their names. Whatever else there is, a file, an image reader, the clock, may give other
values tomorrow.
"""

import abc
import collections
import functools
import inspect
import random
import re
import types
import typing
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset, Sampler

from vsnn_lab.train.description import BOOKKEEPING, attributes, fingerprint_of
from vsnn_lab.train.introspection import (
    codes,
    held_attributes,
    held_items,
    is_builtin_function,
    is_from_library,
    names_in_code,
    underlying_function,
    values_used,
    wrapped_function,
)

# Modules whose functions and classes compute from their arguments alone ...
_PURE_MODULES = re.compile(
    r"abc|builtins|cmath|collections(\.abc)?|contextlib|copy|dataclasses|enum|functools|_functools"
    r"|itertools|math|numbers|_?operator|typing|warnings|numpy(\.linalg|\.fft)?"
    r"|torch(\.functional|\._tensor|\._C(\._\w+)?|\.autograd\.grad_mode|\.func|\.random"
    r"|\.utils\._contextlib|\.utils\.data\.(dataset|dataloader|sampler|distributed|_utils\.collate)"
    r"|\.nn(\..+)?)?"
    r"|torchvision\.transforms(\..+)?"
    r"|vsnn_lab\.(_basics|widths|samplers|layers|networks|measure)(\..+)?"
    r"|vsnn_lab\.data\.(batches|image_set)"
)
# ... but for these, which read, run text, or differ from process to process.
_IMPURE_NAMES = {
    *("__import__", "breakpoint", "compile", "eval", "exec", "globals", "input", "locals", "open"),
    *("hash", "id", "load", "from_file", "fromfile", "fromregex", "genfromtxt", "loadtxt"),
    *("memmap", "seed"),
}
# Modules whose objects, and objects of classes derived from theirs, are what their attributes say.
_PURE_OBJECTS = re.compile(
    r"abc|enum|typing|torch\.(autograd\.grad_mode|nn\..+|utils\._contextlib)"
    r"|torch\.utils\.data\.(dataset|dataloader|sampler|distributed)"
    r"|torchvision\.transforms(\..+)?|vsnn_lab\.(networks|layers)(\..+)?"
    r"|vsnn_lab\.data\.(batches|image_set)|multiprocessing\.context"
)
_VALUES = {
    *(bool, bytes, complex, float, int, range, slice, str, type(None), type(...)),
    *(torch.device, torch.dtype, torch.layout, torch.Generator),
    *(np.random.Generator, np.random.RandomState, random.Random),
}
_TENSORS = {Tensor, nn.Parameter, nn.Buffer}
_CONTAINERS = {
    *(list, tuple, torch.Size, set, frozenset, collections.deque),
    *(dict, collections.OrderedDict, collections.defaultdict, types.MappingProxyType),
}
# Bases whose code uses no attributes.
_ABSTRACT = {object, abc.ABC, typing.Generic, typing.Protocol, Dataset, IterableDataset, Sampler}
# What a run does not call of an object that is there already.
_MAKING = {
    *("__annotate__", "__annotate_func__", "__class_getitem__", "__init__", "__init_subclass__"),
    *("__new__", "__post_init__", "__repr__", "__str__"),
}
# What torch and `fit` call by name.
_CALLED = {"forward", "pin_memory", "set_epoch"}
# With these, code reaches members by names that are made while it runs.
_BY_NAME = {"__dict__", "attrgetter", "getattr", "methodcaller", "vars"}


def find_unidentified(data: Any) -> list[str]:
    """Return where batches reach for what may give something else tomorrow; [] if nowhere.

    Nothing of theirs is run. A data set with a ``data_fingerprint`` is taken at its word.
    """
    return _Search().run(data)


class _Search:
    def __init__(self) -> None:
        self._unknown: dict[str, None] = {}
        self._seen: dict[int, Any] = {}  # by id; held, so that no id is used again
        self._names = set(_CALLED)
        # Attributes of objects and members of classes that no code has named so far.
        self._waiting: list[tuple[str, Any, str]] = []

    def run(self, data: Any) -> list[str]:
        self._visit(data, "data")
        while self._visit_named():
            pass
        return list(self._unknown)

    def _visit_named(self) -> bool:
        every, waiting = bool(_BY_NAME & self._names), self._waiting
        found = [each for each in waiting if every or each[0] in self._names]
        self._waiting = [each for each in waiting if not (every or each[0] in self._names)]
        for _, value, label in found:
            self._visit(value, label)
        return bool(found)

    def _visit_all(self, values: Iterable[Any], label: str) -> None:
        for value in values:
            self._visit(value, label)

    def _visit(self, value: Any, label: str) -> None:
        kind = type(value)
        if id(value) in self._seen or kind in _VALUES:
            return
        self._seen[id(value)] = value
        if kind in _TENSORS:
            strided = value.layout is torch.strided and not (value.is_quantized or value.is_meta)
            self._require(strided and not value.is_conj(), label, value)
        elif kind in _CONTAINERS:
            self._visit_all([*value, *(value.values() if hasattr(value, "values") else ())], label)
        elif isinstance(value, np.ndarray | np.generic) and kind.__module__ == "numpy":
            self._visit_all(value.flat if value.dtype.hasobject else (), label)
        elif fingerprint_of(value) is not None or isinstance(value, np.dtype):
            return
        elif kind is functools.partial:
            self._visit_all([value.func, value.args, value.keywords], label)
        elif kind is types.MethodType:
            self._visit_all([value.__func__, value.__self__], label)
        elif isinstance(value, types.FunctionType):
            self._visit_function(value, label)
        elif isinstance(value, type):
            self._names |= {"__init__", "__new__", "__post_init__"} if value is type else set()
            self._visit_class(value, label, made=True)
        elif (function := wrapped_function(value)) is not None:
            self._visit(function, label)
        elif isinstance(value, np.ufunc) or is_builtin_function(value):
            bound = getattr(value, "__self__", None)
            free = bound is None or isinstance(bound, types.ModuleType | type)
            self._require(free and _is_pure(value), label, value)
        else:
            self._visit_object(value, label)

    def _require(self, known: bool, label: str, value: Any) -> None:
        if known:
            return
        named = isinstance(value, type | types.FunctionType) or is_builtin_function(value)
        of = value if named else type(value)
        kind = "" if " uses " in label else f" ({_module_of(of)}.{of.__qualname__})"
        self._unknown[label + kind] = None

    def _visit_function(self, function: types.FunctionType, label: str) -> None:
        name = function.__qualname__
        if is_from_library(function) or _is_ours(function):
            return self._require(_is_pure(function), label, function)
        for used, value in values_used(function, libraries=True).items():
            self._visit(value, f"{name} uses {used}")
        for code in codes(function.__code__):
            self._names |= {*code.co_names, *(c for c in code.co_consts if isinstance(c, str))}
        for module in names_in_code(function.__code__, "IMPORT_NAME"):
            self._unknown[f"{name} imports {module}"] = None
        defaults = [function.__defaults__, function.__kwdefaults__, *vars(function).values()]
        return self._visit_all(defaults, f"{name} has a default or an attribute")

    def _visit_class(
        self, cls: type, label: str, *, made: bool = False, whole: bool = False
    ) -> None:
        """Follow what a run may call of a class: where it makes objects, and whatever the names."""
        for base in cls.__mro__:
            if is_from_library(base) or _is_ours(base):
                self._require(_is_pure(base), label, base)
                continue
            for name, member in vars(base).items():
                function, special = underlying_function(member), name.startswith("__")
                where = f"{base.__qualname__}.{name}"
                if (special and not callable(function)) or (
                    _is_slot(member) and function is member
                ):
                    continue
                if (special or whole) and (made or name not in _MAKING):
                    self._visit(function, where)
                else:
                    self._waiting.append((name, function, where))

    def _visit_object(self, value: Any, label: str) -> None:
        kind = type(value)
        for base in kind.__mro__:
            known = base in (object, list, tuple, set, frozenset, dict)
            if is_from_library(base) and not known and not _PURE_OBJECTS.fullmatch(base.__module__):
                return self._require(False, label, value)
        if isinstance(value, nn.Module):
            return self._visit_module(value, label)
        known = is_from_library(kind) or _is_ours(kind)
        # The code of a library's base class uses its attributes by names that are not seen here.
        whole = any(is_from_library(base) or _is_ours(base) for base in {*kind.__mro__} - _ABSTRACT)
        if not known:
            self._visit_class(kind, label, whole=whole)
        for name, item in (attributes(value) if known else held_attributes(value)).items():
            self._waiting.append((name, item, f"{kind.__qualname__}.{name}"))
            if whole:
                self._visit(item, f"{kind.__qualname__}.{name}")
        return self._visit_all(held_items(value), label)

    def _visit_module(self, model: nn.Module, label: str) -> None:
        for module in model.modules():
            kind = type(module)
            hooked = bool(module._forward_hooks or module._forward_pre_hooks)
            self._require(not hooked, f"{label} has hooks", module)
            own = held_attributes(module)
            own = {name: own[name] for name in sorted(own.keys() - BOOKKEEPING)}
            if _is_ours(kind) or kind.__module__.startswith("torch.nn."):
                # The rest of what these hold is in their repr.
                own = {name: item for name, item in own.items() if callable(item)}
            else:
                self._visit_class(kind, label, whole=True)
            for name, item in own.items():
                self._visit(item, f"{kind.__qualname__}.{name}")


def _is_slot(member: Any) -> bool:
    """Whether a member of a class is only the place of a value that its objects hold."""
    return inspect.isdatadescriptor(member) and is_from_library(type(member))


def _is_ours(value: Any) -> bool:
    return (value.__module__ or "").startswith("vsnn_lab.")


def _is_pure(value: Any) -> bool:
    named = getattr(value, "__name__", "") in _IMPURE_NAMES
    pure = _PURE_MODULES.fullmatch(_module_of(value)) is not None
    return isinstance(value, np.ufunc) or (pure and not named)


def _module_of(value: Any) -> str:
    """Return the module of a function or a class; a method of a C class names only its class."""
    owner = getattr(value, "__objclass__", None)
    found = getattr(value, "__module__", None) or getattr(owner, "__module__", None)
    return str(found or "builtins")
