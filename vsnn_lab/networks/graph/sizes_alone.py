"""Run a network on sizes alone."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.modules import transformer
from torch.utils import _pytree as pytree

_fake = logging.getLogger("torch._subclasses.fake_tensor")


def run_on_sizes(model: nn.Module, args: Sequence[Any], options: Mapping[str, Any]) -> None:
    """Run a network on tensors of the sizes of its own and its inputs'.

    Args:
        model: A network; what its forward keeps or counts is not put back.
        args: Its inputs; all that are no tensors stay what they are.
        options: Inputs by name.
    """
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with FakeTensorMode() as fake, torch.no_grad(), sizes_alone():
        tensors: dict[str, Tensor] = {}
        tensors |= {name: fake.from_tensor(value) for name, value in state.items()}
        given, named = pytree.tree_map(
            lambda value: fake.from_tensor(value) if isinstance(value, Tensor) else value,
            (tuple(args), dict(options)),
        )
        torch.func.functional_call(model, tensors, given, named)


@contextmanager
def sizes_alone() -> Iterator[None]:
    """Keep random states as they are, and torch from logging what fails: that is found out here."""
    disabled, _fake.disabled = _fake.disabled, True
    # A hint which kernel to take, for which torch looks at the numbers of a mask.
    looks, transformer._detect_is_causal_mask = transformer._detect_is_causal_mask, _hint
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        _fake.disabled = disabled
        transformer._detect_is_causal_mask = looks


def _hint(mask: Any, is_causal: bool | None = None, size: int | None = None) -> bool:
    return bool(is_causal)
