"""Arguments that a variable layer passes on to torch's layer: refused here, by their names.

torch itself says what does not fit together, such as channels that its groups do not divide.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from vsnn_lab._basics.checks import (
    check_choice,
    check_flag,
    check_fraction,
    check_int,
    check_number,
    short_repr,
)

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments for a torch layer, or say what is wrong with one before it makes anything.

    None is torch's word for its own choice, and passes wherever torch takes it.
    """
    return {
        name: _RULES[name](name, value) if name in _RULES else value
        for name, value in options.items()
    }


def _or_none(rule: Callable[[str, Any], Any], name: str, value: Any) -> Any:
    return None if value is None else rule(name, value)


def _sizes(name: str, value: Any, low: int = 1) -> int | tuple[int, ...]:
    """Return an integer, or one for each dimension."""
    if isinstance(value, tuple | list) and value:
        return tuple(check_int(name, size, low) for size in value)
    return check_int(name, value, low)


def _padding(name: str, value: Any) -> str | int | tuple[int, ...]:
    if isinstance(value, str):
        return check_choice(name, value, ("same", "valid"))
    return _sizes(name, value, 0)


def _device(name: str, value: Any) -> Any:
    try:
        torch.empty(0, device=value)
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must be one that torch finds here, got {short_repr(value)}"
        ) from error
    return value


def _dtype(name: str, value: Any) -> torch.dtype:
    if isinstance(value, torch.dtype) and (value.is_floating_point or value.is_complex):
        return value
    raise TypeError(f"{name} must be a floating or complex torch.dtype, got {short_repr(value)}")


_RULES: dict[str, Callable[[str, Any], Any]] = {
    **dict.fromkeys(("affine", "bias", "elementwise_affine", "track_running_stats"), check_flag),
    **dict.fromkeys(("scale_grad_by_freq", "sparse"), check_flag),
    **dict.fromkeys(("add_bias_kv", "add_zero_attn", "batch_first", "bidirectional"), check_flag),
    **dict.fromkeys(("groups", "num_groups", "num_layers"), check_int),
    "dropout": check_fraction,
    "nonlinearity": partial(check_choice, choices=("tanh", "relu")),
    "proj_size": partial(check_int, low=0),
    **dict.fromkeys(("dilation", "kernel_size", "stride"), _sizes),
    "output_padding": partial(_sizes, low=0),
    "padding": _padding,
    "padding_mode": partial(check_choice, choices=_PADDING_MODES),
    "eps": partial(_or_none, partial(check_number, low=0)),
    **dict.fromkeys(("max_norm", "momentum", "norm_type"), partial(_or_none, check_number)),
    "device": partial(_or_none, _device),
    "dtype": partial(_or_none, _dtype),
}
