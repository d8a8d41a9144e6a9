"""A training run on disk: found again by what it was asked to do."""

import contextlib
import dis
import functools
import hashlib
import json
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vsnn_lab import checkpoints

_MODEL, _OPTIMIZER = "model.", "optimizer."


@dataclass(frozen=True)
class Record:
    """The folder of one run: ``last.safetensors`` to go on from, ``best.safetensors`` to keep.

    Attributes:
        folder: Named after a hash of the settings and one of the initial weights, so that two
            different runs never share one.
    """

    folder: Path

    @classmethod
    def find(cls, parent: Path, model: nn.Module, settings: Mapping[str, Any]) -> "Record":
        """Return the run's record, whether or not anything is in it yet.

        A model that holds the last or the best weights of such a run continues it; any other
        weights are a run of their own.
        """
        weights = checkpoints.digest(model.state_dict())
        asked = describe({"model": structure(model), **settings})
        prefix = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]
        for last in sorted(parent.glob(f"{prefix}-*/last.safetensors")):
            header = checkpoints.read_header(last)
            if weights in (header["last_weights"], header["best_weights"]):
                return cls(last.parent)
        return cls(parent / f"{prefix}-{weights}")

    def save(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
        best: Mapping[str, Tensor],
        progress: Mapping[str, Any],
    ) -> None:
        """Write the state after a finished epoch."""
        weights = model.state_dict()
        state, groups = _flat(optimizer.state_dict())
        header = {
            **progress,
            "groups": groups,
            "schedule": schedule.state_dict(),
            "last_weights": checkpoints.digest(weights),
            "best_weights": checkpoints.digest(best),
        }
        tensors = {_MODEL + name: value for name, value in weights.items()} | state
        # Best first: if the second write never happens, the epoch is trained again from `last`
        # and `best` is written again with it.
        checkpoints.write(self.folder / "best.safetensors", best, progress)
        checkpoints.write(self.folder / "last.safetensors", tensors, header)

    def restore(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
    ) -> dict[str, Any] | None:
        """Put everything back as it was after the last finished epoch, if there was one.

        Returns:
            What was saved as ``progress``, or None.
        """
        path = self.folder / "last.safetensors"
        if not path.exists():
            return None
        tensors, header = checkpoints.read(path)
        model.load_state_dict(_below(_MODEL, tensors))
        optimizer.load_state_dict(_nested(_below(_OPTIMIZER, tensors), header["groups"]))
        schedule.load_state_dict(header["schedule"])
        return header

    def best(self) -> dict[str, Tensor]:
        """Return the weights of the best epoch so far."""
        return checkpoints.read(self.folder / "best.safetensors")[0]


def describe(value: Any, _around: tuple[int, ...] = ()) -> Any:
    """Return what JSON can hold of a setting, the same in every process.

    Tensors and arrays are described by their bytes, functions by their code and the constants that
    it uses, other objects by their class, its code and their public attributes. What code writes
    is its state, a counter say, and no setting; so are lists and dicts that a function uses. Code
    of torch and of the standard library is known by its name.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if id(value) in _around:
        return "itself"
    inner = functools.partial(describe, _around=(*_around, id(value)))
    if isinstance(value, Mapping):
        return {str(key): inner(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [inner(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(json.dumps(inner(item), sort_keys=True) for item in value)
    if isinstance(value, Tensor):
        return checkpoints.digest([value])
    if isinstance(value, np.ndarray | np.generic):
        return [str(value.dtype), list(value.shape), hashlib.sha256(value.tobytes()).hexdigest()]
    if isinstance(value, nn.Module):
        return [inner(structure(value)), checkpoints.digest(value.state_dict())]
    if isinstance(value, functools.partial):
        return inner([value.func, value.args, value.keywords])
    if isinstance(value, types.FunctionType | types.MethodType):
        used = [getattr(value, "__self__", None), value.__defaults__, value.__kwdefaults__]
        return [_name(value), _code(value), inner(used), inner(_constants(value))]
    if isinstance(value, type) or (callable(value) and not hasattr(value, "__dict__")):
        return _name(value)
    if not hasattr(value, "__dict__"):
        plain = type(value).__repr__ is object.__repr__
        return [_name(type(value)), None if plain else repr(value)]
    return [_name(type(value)), _class_code(type(value)), inner(_public(value))]


def structure(model: nn.Module) -> list[Any]:
    """Return what a network is apart from its weights, mode and containers, for `describe`."""
    settings = {
        name: {
            key: item
            for key, item in _public(module).items()
            if key != "training" and isinstance(item, _CONSTANTS)
        }
        for name, module in model.named_modules()
    }
    return [repr(model), settings, {_name(type(m)): _class_code(type(m)) for m in model.modules()}]


# The methods of samplers, losses, networks and batches that a run calls.
_USES = ("__call__", "__iter__", "__getitem__", "forward", "set_epoch")
# What a function or a network uses without changing it in place.
_CONSTANTS = bool | int | float | str | tuple | types.FunctionType | types.BuiltinFunctionType


def _name(value: Any) -> str:
    return f"{value.__module__}.{getattr(value, '__qualname__', value)}"


def _of_a_library(value: Any) -> bool:
    package = (value.__module__ or "builtins").partition(".")[0]
    return package == "torch" or package in sys.stdlib_module_names


def _public(value: Any) -> dict[str, Any]:
    """Return an object's public attributes, without those that change when it is used."""
    used = [method for method in _methods(type(value)) if method.__name__ in _USES]
    written = {name for method in used for name in _names(method, "STORE_ATTR")}
    return {k: v for k, v in vars(value).items() if not k.startswith("_") and k not in written}


def _methods(cls: type) -> list[types.FunctionType]:
    """Return the functions of a class, without magic ones that training does not call."""
    found = [(name, method) for base in cls.__mro__ for name, method in vars(base).items()]
    return [
        method
        for name, method in found
        if isinstance(method, types.FunctionType) and (name in _USES or not name.startswith("__"))
    ]


def _class_code(cls: type) -> list[Any]:
    return [[m.__qualname__, _code(m)] for m in _methods(cls) if not _of_a_library(m)]


def _code(function: Any) -> list[Any]:
    return [] if _of_a_library(function) else _bytecode(function.__code__)


def _bytecode(code: types.CodeType) -> list[Any]:
    constants = [
        _bytecode(item)
        if isinstance(item, types.CodeType)
        # The repr of a set of strings differs from process to process.
        else sorted(map(repr, item))
        if isinstance(item, frozenset)
        else repr(item)
        for item in code.co_consts
    ]
    return [hashlib.sha256(code.co_code).hexdigest(), list(code.co_names), constants]


def _names(function: Any, *operations: str) -> set[str]:
    """Return the names that these operations of a function's code touch, inner functions' too."""
    found, codes = set(), [function.__code__]
    for code in codes:
        codes += [item for item in code.co_consts if isinstance(item, types.CodeType)]
        found |= {i.argval for i in dis.get_instructions(code) if i.opname in operations}
    return found


def _constants(function: Any) -> dict[str, Any]:
    """Return the constants that a function takes from around it: globals, and its closure."""
    if _of_a_library(function):
        return {}
    code, scope = function.__code__, function.__globals__
    found = {name: scope[name] for name in _names(function, "LOAD_GLOBAL") if name in scope}
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # not filled yet
            found[name] = cell.cell_contents
    written = _names(function, "STORE_GLOBAL", "STORE_DEREF")
    kinds = (*_CONSTANTS.__args__, Tensor, np.ndarray, nn.Module, functools.partial)
    return {k: v for k, v in found.items() if k not in written and isinstance(v, kinds)}


def _flat(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Split an optimizer's state into named tensors and what JSON can hold."""
    tensors = {
        f"{_OPTIMIZER}{index}.{name}": value
        for index, values in state["state"].items()
        for name, value in values.items()
    }
    return tensors, state["param_groups"]


def _nested(tensors: Mapping[str, Tensor], groups: list[dict[str, Any]]) -> dict[str, Any]:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    return {"state": state, "param_groups": groups}


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
