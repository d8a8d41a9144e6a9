"""Run a network to see what it does, and leave it as it was: forwards may keep and count."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def restored(model: nn.Module) -> Iterator[None]:
    """Put back, at the end, the attributes and modes of all modules, and what containers hold.

    A forward that keeps a mask or counts its calls would else keep tensors of sizes alone, or count
    calls that nobody made. Tensors that are written into are not put back.
    """
    before = {module: dict(vars(module)) for module in model.modules()}
    held = {
        id(value): (value, type(value)(value))
        for attributes in before.values()
        for value in attributes.values()
        if _is_container(value)
    }
    try:
        yield
    finally:
        for module, attributes in before.items():
            vars(module).clear()
            vars(module).update(attributes)
        for value, kept in held.values():
            value.clear()
            value.extend(kept) if isinstance(value, list) else value.update(kept)


def _is_container(value: Any) -> bool:
    # Those alone that are made of another of their kind.
    return type(value) in (dict, OrderedDict, list, set)
