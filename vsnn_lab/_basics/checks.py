"""Refusals in one wording: the argument, the rule, the value and what to do."""

import math
import operator
import os
import reprlib
from collections.abc import Collection
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

# Sizes, counts and seeds are 64-bit integers in torch.
_INT64_MAX = 2**63 - 1
# What a message shows of a value: numbers of a tensor, and characters in all.
_NUMBERS, _CHARACTERS = 8, 300


def check_int(
    name: str, value: Any, low: int | None = 1, high: int | None = None, *, hint: str = ""
) -> int:
    """Return ``value`` as an int within ``low..high``, or say what is wrong with it.

    NumPy integers pass; a bool or a float does not, because ``1`` and ``1.0`` mean different
    widths to many people and guessing would hide the mistake.

    Raises:
        TypeError: If ``value`` is not an integer.
        ValueError: If it lies outside the range.
    """
    rule = "" if low is None else f" at least {low}" if high is None else f" in {low}..{high}"
    tail = f"; {hint}" if hint else ""
    truth = isinstance(value, bool) or getattr(value, "dtype", None) is torch.bool
    if truth or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer{rule}, got {_typed_repr(value)}{tail}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer{rule}, got {short_repr(value)}{tail}") from None
    if low is None:
        return number
    if number < low or (high is not None and number > high):
        verb = "be" if high is None else "lie"
        raise ValueError(f"{name} must {verb}{rule}, got {number}{tail}")
    if number > _INT64_MAX:
        raise ValueError(f"{name} must fit 64 bits, got {number}{tail}")
    return number


def check_fraction(name: str, value: Any, *, hint: str = "") -> float:
    """Return ``value`` as a float within [0, 1], or say what is wrong with it."""
    tail = f"; {hint}" if hint else ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number in [0, 1], got {_typed_repr(value)}{tail}")
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in [0, 1], got {value}{tail}")
    return float(value)


def check_number(name: str, value: Any, low: float | None = None, *, hint: str = "") -> float:
    """Return ``value`` as a finite float of at least ``low``, or say what is wrong with it."""
    rule = "a finite number" if low is None else f"a finite number of at least {low:g}"
    tail = f"; {hint}" if hint else ""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be {rule}, got {_typed_repr(value)}{tail}")
    try:
        number = float(value)
    except OverflowError:  # an integer beyond all floats
        number = math.inf
    if not math.isfinite(number) or (low is not None and number < low):
        raise ValueError(f"{name} must be {rule}, got {value}{tail}")
    return number


def check_returned(name: str, value: Any) -> float:
    """Return what a caller's function gave as a float, or say that it is no number."""
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name} must return one number, got {_typed_repr(value)}") from None


def check_flag(name: str, value: Any) -> bool:
    """Return ``value`` as a bool; what is neither true nor false is refused, not guessed."""
    if isinstance(value, bool | np.bool_) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise TypeError(f"{name} must be True or False, got {_typed_repr(value)}")


def check_choice(name: str, value: Any, choices: Collection[str]) -> str:
    """Return ``value`` if it is one of ``choices``, or list them."""
    if isinstance(value, str) and value in choices:
        return value
    raise ValueError(
        f"{name} must be one of {', '.join(map(repr, choices))}, got {short_repr(value)}"
    )


def check_callable(name: str, value: Any, what: str) -> Any:
    """Return ``value`` if it is callable, and not the class of something that is."""
    hint = f"; {value.__name__}() makes one" if isinstance(value, type) else ""
    if hint or not callable(value):
        raise TypeError(f"{name} must be {what}, got {short_repr(value)}{hint}")
    return value


def check_collection(name: str, value: Any, of: str, *, hint: str = "") -> Collection[Any]:
    """Return ``value`` if it has a length and members, or say what it should hold."""
    tail = f"; {hint}" if hint else ""
    whole = isinstance(value, str | bytes) or getattr(value, "ndim", 1) == 0
    if whole or not isinstance(value, Collection):
        raise TypeError(f"{name} must be a sequence of {of}, got {_typed_repr(value)}{tail}")
    return value


def check_module(name: str, value: Any) -> nn.Module:
    """Return ``value`` if it is a module, or say what it is."""
    if not isinstance(value, nn.Module):
        raise TypeError(f"{name} must be a torch.nn.Module, got {short_repr(value)}")
    return value


def check_tensor(name: str, value: Any) -> Tensor:
    """Return ``value`` if it is a tensor, or say what it is."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(value).__name__}")
    return value


def check_rows(name: str, value: Any) -> Tensor:
    """Return ``value`` if it is a tensor of at least one row, or say what is wrong with it."""
    check_tensor(name, value)
    if value.dim() == 0 or len(value) == 0:
        raise ValueError(f"{name} must hold at least one row, got shape {tuple(value.shape)}")
    return value


def check_pair(name: str, value: Any) -> tuple[Tensor, Tensor]:
    """Return one batch, inputs and targets, or say what is wrong with it."""
    pair = isinstance(value, tuple | list) and len(value) == 2
    if not (pair and all(isinstance(part, Tensor) and part.dim() for part in value)):
        raise TypeError(
            f"{name} must hold pairs of tensors (inputs, targets), got {_typed_repr(value)}; "
            "a DataLoader's collate_fn can make pairs"
        )
    return value[0], value[1]


def check_generator(value: Any) -> torch.Generator | None:
    """Return ``value`` if it is a generator of random numbers or None, or say what it is."""
    if value is None or isinstance(value, torch.Generator):
        return value
    raise TypeError(f"generator must be a torch.Generator or None, got {_typed_repr(value)}")


def check_path(name: str, value: Any, kind: str = "folder") -> Path:
    """Return ``value`` as the path of a file or a folder, or say what is wrong with it."""
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{name} must be a string or a path, got {_typed_repr(value)}")
    path = Path(value)
    if not str(value) or "\0" in str(value) or (kind == "file" and not path.name):
        raise ValueError(f"{name} must name a {kind}, got {str(value)!r}")
    return path


def short_repr(value: Any) -> str:
    """Return the repr of a value as messages show it: a batch by its shape, no pages of numbers."""
    text = _SHORT_REPR.repr(value)
    return text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS]}..."


class _ShortRepr(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlist = self.maxtuple = 4
        self.maxstring, self.maxother, self.maxlong = 100, 100, 100

    def repr1(self, x: Any, level: int) -> str:
        if isinstance(x, Tensor | np.ndarray) and math.prod(x.shape) > _NUMBERS:
            return f"{type(x).__name__} of shape {tuple(x.shape)} and {x.dtype}"
        if isinstance(x, nn.Module) and vars(x).get("_modules"):
            return f"{type(x).__name__}(...)"
        # One line, also of a table.
        return " ".join(super().repr1(x, level).split())


_SHORT_REPR = _ShortRepr()


def _typed_repr(value: Any) -> str:
    return f"{short_repr(value)} of type {type(value).__name__}"
