"""What functions, classes and objects are made of, found without running anything of theirs."""

import builtins
import collections
import contextlib
import dis
import functools
import inspect
import re
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

_MISSING = object()
# Methods that change a container in place.
_CHANGES = {
    *("add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem"),
    *("popleft", "remove", "reverse", "rotate", "setdefault", "sort", "update"),
}


def values_used(function: types.FunctionType, *, libraries: bool) -> dict[str, Any]:
    """Return what a function takes from around it, closure and globals, inner functions' too.

    Of a module it is the attributes that are used, ``torch.nn.functional.relu`` by that name; of
    other objects, these too.

    Args:
        function: Not run.
        libraries: Look into modules of libraries, too, where what is found depends on what has
            been imported so far.
    """
    closure = closure_of(function)
    scope = collections.ChainMap(function.__globals__, vars(builtins))
    found: dict[str, Any] = {}
    for code in codes(function.__code__):
        found |= _values_in_code(code, scope, closure, libraries)
    # What is only written is not loaded.
    whole = {k: item for k, item in closure.items() if not isinstance(item, types.ModuleType)}
    return dict(sorted(found.items())) | whole


def closure_of(function: types.FunctionType) -> dict[str, Any]:
    """Return the variables of enclosing functions that a function uses."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # not filled yet
            found[name] = cell.cell_contents
    return found


def _values_in_code(
    code: types.CodeType, scope: Mapping[str, Any], closure: dict[str, Any], libraries: bool
) -> dict[str, Any]:
    found, name, value = {}, "", _MISSING
    for step in _instructions(code):
        if step.opname == "EXTENDED_ARG":
            continue
        is_attribute = step.opname in ("LOAD_ATTR", "LOAD_METHOD")
        if is_attribute and isinstance(value, types.ModuleType):
            # Not by getattr, since modules may import others when asked for them.
            known = _is_installed(value.__name__) and not libraries
            inside = {} if known else vars(value)
            name, value = f"{name}.{step.argval}", inside.get(step.argval, _MISSING)
            continue
        if value is not _MISSING:
            found[name] = value
            if is_attribute and not isinstance(value, type) and step.argval in _own_dict(value):
                found[f"{name}.{step.argval}"] = _own_dict(value)[step.argval]
        name = step.argval if isinstance(step.argval, str) else ""
        value = _MISSING
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            value = scope.get(name, _MISSING)
        elif step.opname in ("LOAD_DEREF", "LOAD_CLASSDEREF"):
            value = closure.get(name, _MISSING)
    return found


def names_in_code(code: types.CodeType, *operations: str) -> set[str]:
    """Return the names that these operations of a code touch, inner functions' too."""
    return {
        step.argval
        for each in codes(code)
        for step in _instructions(each)
        if step.opname in operations
    }


# A training is described twice, and the next one uses the same functions.
@functools.lru_cache(maxsize=4096)
def _instructions(code: types.CodeType) -> tuple[dis.Instruction, ...]:
    return tuple(dis.get_instructions(code))


def _own_dict(value: Any) -> dict[str, Any]:
    try:
        found: dict[str, Any] = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return found


def changes_containers(code: types.CodeType) -> bool:
    """Whether a code may change lists, dicts or sets, its own or others'."""
    named = any(_CHANGES & {*each.co_names} for each in codes(code))
    return named or bool(names_in_code(code, "STORE_SUBSCR", "STORE_SLICE", "DELETE_SUBSCR"))


def codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield a code and those of the functions inside it."""
    yield code
    for item in code.co_consts:
        if isinstance(item, types.CodeType):
            yield from codes(item)


def is_from_library(value: Any) -> bool:
    """Whether a function or a class is Python's, torch's or another installed package's."""
    return _is_installed(value.__module__ or "builtins")


def _is_installed(module: str) -> bool:
    package = module.partition(".")[0]
    file = getattr(sys.modules.get(package), "__file__", None) or ""
    installed = package in sys.stdlib_module_names or re.search("(site|dist)-packages", file)
    return package != "__main__" and bool(installed)


def wrapped_function(value: Any) -> types.FunctionType | None:
    """Return the function within what `functools.cache` and the like make of it."""
    # Not by getattr, which runs a class's own __getattr__.
    inside = inspect.getattr_static(value, "__wrapped__", None)
    return inside if isinstance(inside, types.FunctionType) else None


def is_builtin_function(value: Any) -> bool:
    """Whether something is a function that is not written in Python."""
    named = inspect.getattr_static(value, "__qualname__", None) is not None
    return named and callable(value) and not hasattr(value, "__dict__")


def underlying_function(member: Any) -> Any:
    """Return the function of a property, a class method or the like in a class; else itself."""
    if isinstance(member, functools.cached_property):
        return member.func
    return getattr(member, "fget", getattr(member, "__func__", member))


def held_attributes(value: Any) -> dict[str, Any]:
    """Return what an object holds under names, in its dict and in slots."""
    held: Any = object.__getstate__(value)
    attributes, slots = held if isinstance(held, tuple) else (held, None)
    return {**(attributes or {}), **(slots or {})}


def held_items(value: Any) -> list[Any]:
    """Return what an object of a class derived from a container holds, however it iterates."""
    if isinstance(value, dict):
        return list(dict.items(value))
    bases: tuple[Any, ...] = (list, tuple, set, frozenset)
    return [item for base in bases if isinstance(value, base) for item in base.__iter__(value)]
