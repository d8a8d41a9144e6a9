"""Prove a converted network before it is handed over: its slices, its cuts and its masks agree."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from vsnn_lab._basics.random_state import random_state_kept, seed_generators
from vsnn_lab.networks.examples import Example
from vsnn_lab.networks.extraction import extract
from vsnn_lab.networks.graph.capture import tensors_in
from vsnn_lab.networks.restoring import restored
from vsnn_lab.widths import WidthControl, at_width, width_controls

# Of more numbers than these a copy in double precision is not made: 4 GB.
_MOST = 500_000_000
# What rounding may change in double precision, and in the network's own, of the largest output.
_CLOSE, _CLOSE_ENOUGH = 1e-9, 1e-3
# Shares of a knob at which the network is looked at, one of them uneven.
_SHARES = (0.25, 0.63, 1.0)

Outputs = list[Tensor]


def prove(variable: nn.Module, model: nn.Module, example: Example, *, exact: bool = True) -> None:
    """Compare a converted network with what it was made of, and with its own cuts.

    At full width it gives exactly what the original gives; at three positions of its knobs, one
    after the other and all together, what the cut of these positions gives; and where samples have
    rows of their own, with a width for each, what the cut of each gives.

    Args:
        variable: The converted network.
        model: The original.
        example: What both take.
        exact: Whether they agree to the bit at full width; else to rounding, as when units were
            exchanged.

    Raises:
        RuntimeError: If something differs; the message names the first module that does.
    """
    with _settled(variable), _settled(model):
        pair = [(model, example), (variable, example)]
        if not exact:
            pair = [_double(network, example) for network in (model, variable)]
        (first, given), (second, _) = pair
        for name, whole in _differences(first, second, given, exact=exact):
            raise RuntimeError(
                f"the variable network must compute at full width what the model "
                f"computes, got other outputs from {name or 'the model'!r} first, by {whole:.1e}; "
                "verify=False hands it over all the same"
            )
    network, given = _double(variable, example)
    with _settled(network):
        for positions in _turns(width_controls(network)):
            try:
                cut = extract(network, positions)
                with at_width(network, positions):
                    found = [*_differences(cut, network, given, exact=False)]
            except Exception as error:
                raise RuntimeError(
                    f"the variable network and its cut must run at {_named(positions)}, got "
                    f"{type(error).__name__}: {error}; exclude=[...] keeps a module as it is"
                ) from error
            for name, most in found[:1]:
                raise RuntimeError(
                    f"the variable network must compute at a width what its cut computes, got "
                    f"other outputs from {name or 'the model'!r} first, by {most:.1e} at "
                    f"{_named(positions)}; exclude=[...] keeps a module as it is"
                )
        _prove_masks(network, given)


def _named(positions: Mapping[WidthControl, int]) -> str:
    return ", ".join(f"{place} of {knob.steps}" for knob, place in positions.items())


def _turns(knobs: list[WidthControl]) -> Iterator[dict[WidthControl, int]]:
    """List positions: all knobs together at three, and each by itself at the uneven one."""
    for share in _SHARES:
        yield _positions(knobs, share)
    # Of many knobs a few alone: the graph has been compared with each at a share of its own.
    for knob in knobs[:3] if len(knobs) > 1 else ():
        yield {other: other.steps for other in knobs} | _positions([knob], _SHARES[1])


def _positions(knobs: list[WidthControl], share: float) -> dict[WidthControl, int]:
    return {knob: max(1, int(knob.steps * share)) for knob in knobs}


def _double(network: nn.Module, example: Example) -> tuple[nn.Module, Example]:
    """Return a network and its example in double precision where memory allows it."""
    if sum(value.numel() for value in network.parameters()) > _MOST:
        return network, example

    def double(value: Any) -> Any:
        floats = isinstance(value, Tensor) and value.is_floating_point()
        return value.detach().double() if floats else value

    args, options = pytree.tree_map(double, (example.args, example.options))
    given = Example(args, options, example.given)
    twin = copy.deepcopy(network).double()
    try:
        with _settled(twin):
            _run(twin, given)
    except Exception:
        # A dtype is named in its code; its own then.
        return network, example
    return twin, given


@contextmanager
def _settled(model: nn.Module) -> Iterator[None]:
    """Hold a network in evaluation, without gradients, and leave it and the random state alone."""
    fast = torch.backends.mha.get_fastpath_enabled()
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), random_state_kept(model), restored(model):
            model.eval()
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for buffer, before in buffers:
            buffer.copy_(before)


def _run(model: nn.Module, example: Example) -> Outputs:
    seed_generators(model, 0)
    args, options = pytree.tree_map(
        lambda value: value.clone() if isinstance(value, Tensor) else value,
        (example.args, example.options),
    )
    with torch.no_grad():
        return [each.clone() for each in tensors_in(model(*args, **options))]


def _differences(
    first: nn.Module, second: nn.Module, example: Example, *, exact: bool
) -> Iterator[tuple[str, float]]:
    """List the modules whose outputs differ, in the order in which they end; the network last."""
    runs: list[dict[str, Outputs]] = []
    whole = [_run(network, example) for network in (first, second)]
    if (most := _apart(*whole, exact=exact)) is None:
        return
    for network in (first, second):
        seen: dict[str, Outputs] = {}
        with _watched(network, seen):
            _run(network, example)
        runs.append(seen)
    for name, outputs in runs[0].items():
        found = _apart(outputs, runs[1].get(name, []), exact=exact)
        if found is not None:
            yield name, found
    yield "", most


@contextmanager
def _watched(network: nn.Module, seen: dict[str, Outputs]) -> Iterator[None]:
    handles = []
    for name, module in network.named_modules():

        def note(module: nn.Module, args: Any, output: Any, name: str = name) -> None:
            seen.setdefault(name, [each.clone() for each in tensors_in(output)])

        handles.append(module.register_forward_hook(note))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _apart(first: Outputs, second: Outputs, *, exact: bool) -> float | None:
    """Return how far outputs are apart, or None if they agree."""
    if [each.shape for each in first] != [each.shape for each in second]:
        return float("inf")
    worst = 0.0
    for one, other in zip(first, second, strict=True):
        if torch.equal(one, other) or not one.numel():
            continue
        if not one.is_floating_point():
            return float("inf")
        # What is not a number in both is alike.
        same = (one == other) | (one.isnan() & other.isnan())
        gap = torch.where(same, 0.0, one - other).abs().nan_to_num(float("inf")).max().item()
        size = one.nan_to_num(0.0, 0.0, 0.0).abs().max().clamp(min=1.0).item()
        close = _CLOSE if one.dtype == torch.float64 else _CLOSE_ENOUGH
        if gap and (exact or gap > close * size):
            worst = max(worst, gap)
    return worst or None


def _prove_masks(network: nn.Module, example: Example) -> None:
    """Give each sample a width of its own, where that can be done, and compare with its cut."""
    rows = {len(each) for each in (*example.args, *example.options.values()) if _has_rows(each)}
    if len(rows) != 1:
        return
    (count,) = rows
    knobs = width_controls(network)
    turns = [_positions(knobs, share) for share in _SHARES[:count]]
    vectors: Any = {
        knob: torch.tensor([turns[row % len(turns)][knob] for row in range(count)])
        for knob in knobs
    }
    with at_width(network, vectors):
        masked = _run(network, example)
    for row, positions in enumerate(turns):
        with at_width(network, positions):
            sliced = _run(network, example)
        pairs = [
            ([one[row]], [other[row]])
            for one, other in zip(masked, sliced, strict=True)
            if one.dim() and len(one) == count
        ]
        for one, other in pairs:
            if (most := _apart(one, other, exact=False)) is not None:
                raise RuntimeError(
                    "the variable network must compute for a sample at a width what its cut "
                    f"computes, got other outputs by {most:.1e} in row {row} at "
                    f"{_named(positions)}; verify=False hands it over all the same"
                )


def _has_rows(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0
