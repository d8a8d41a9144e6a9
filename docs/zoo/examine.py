"""What becomes of one network: made variable, and its slices, masks and cuts compared."""

import gc
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from docs.zoo.checks import further_checks
from docs.zoo.entries import SAMPLES, Entry
from vsnn_lab import at_width, extract, make_variable
from vsnn_lab.networks import explanation
from vsnn_lab.widths import WidthControl, width_controls

# A narrow position, one that is uneven, and one near full width.
SHARES = (0.25, 0.63, 0.9)
# Larger networks are compared in their own precision: of one such a copy in double takes 6 GB.
MOST_DOUBLE = 750_000_000
_REASONS = 4  # that are kept of those that fix axes

Row = dict[str, Any]


def examine(entry: Entry) -> Row:
    """Make a network variable, and return what there is to say of it.

    Deviations are the largest of any output's entries over the largest of them: of the variable
    network at full width from the original, in float32; and in float64 of its slices from its cuts,
    and of a batch in which each sample has a width of its own from the cuts of these.
    """
    torch.manual_seed(0)
    model, given = enliven(entry.build()), entry.example()
    size = sum(parameter.numel() for parameter in model.parameters())
    row: Row = {"family": entry.family, "name": entry.name, "parameters": size}
    begun = time.process_time()
    try:
        variable = make_variable(model, given, verify=False)
    except (ValueError, RuntimeError) as error:
        return row | {"converts": False, "reason": f"{type(error).__name__}: {error}"}
    row |= {"converts": True, "seconds": round(time.process_time() - begun, 2)}
    knobs = width_controls(variable)
    found = explanation.explain(variable)
    row |= {
        "positions": [knob.steps for knob in knobs],
        "share": round(found.share, 4),
        "stays": [
            {
                "reason": fixed.reason,
                "share": round(fixed.parameters / size, 4),
                "layers": len(fixed.layers),
                "first": fixed.layers[0],
            }
            for fixed in sorted(found.fixed, key=lambda fixed: -fixed.parameters)[:_REASONS]
        ],
        "deviations": {"full": _deviation(outputs(model, given), outputs(variable, given))},
    }
    del model
    gc.collect()
    row["dtype"] = "float64" if size <= MOST_DOUBLE else "float32"
    if row["dtype"] == "float64":
        variable, given = variable.double(), doubled(given)
    row["deviations"] |= _compare(variable, given, knobs)
    return row | further_checks(entry, variable, given, knobs)


def _compare(variable: nn.Module, given: Any, knobs: list[WidthControl]) -> dict[str, float]:
    turns = [positions(knobs, share) for share in SHARES]
    cuts, worst = [], 0.0
    for turn in turns:
        with at_width(variable, turn):
            sliced = outputs(variable, given)
        cuts.append(outputs(extract(variable, turn), given))
        worst = max(worst, _deviation(cuts[-1], sliced))
        gc.collect()
    vectors = {knob: torch.tensor([turn[knob] for turn in turns]) for knob in knobs}
    with at_width(variable, vectors):
        masked = outputs(variable, given)
    rows = [place for place, value in enumerate(masked) if len(value) == SAMPLES]
    apart = [
        _deviation(
            [cut[place][sample] for place in rows], [masked[place][sample] for place in rows]
        )
        for sample, cut in enumerate(cuts)
    ]
    return {"cut": worst, "masked": max(apart)}


def positions(knobs: list[WidthControl], share: float) -> dict[WidthControl, int]:
    """Return a position of each knob that keeps a share of it."""
    return {knob: max(1, int(knob.steps * share)) for knob in knobs}


def enliven(model: nn.Module) -> nn.Module:
    """Give what is constant when it is made numbers that differ; return the network, evaluating.

    Where all scales of a norm are one, and of a branch a millionth, a wrong one would not show.
    """
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if not value.is_floating_point() or not value.numel():
                continue
            mean = name.endswith("running_mean")
            if mean or (value == value.flatten()[0]).all():
                shift = mean or not value.any()
                some = torch.rand(value.shape, generator=noise)
                value.copy_((some - 0.5) / 5 if shift else some + 0.5)
    return model.eval()


def doubled(given: Any) -> Any:
    """Return inputs in double precision."""
    return pytree.tree_map(
        lambda value: (
            value.double() if isinstance(value, Tensor) and value.is_floating_point() else value
        ),
        given,
    )


def outputs(model: nn.Module, given: Any) -> list[Tensor]:
    """Return the tensors that a network gives, evaluated."""
    with _plain_kernels(), torch.no_grad():
        if isinstance(given, Mapping):
            found = model(**given)
        else:
            found = model(*given) if isinstance(given, tuple) else model(given)
    leaves = pytree.tree_leaves(dict(found) if isinstance(found, Mapping) else found)
    return [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.dim()]


@contextmanager
def _plain_kernels() -> Iterator[None]:
    """Keep torch from a kernel for whole attention layers, which rounds otherwise."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _deviation(expected: list[Tensor], found: list[Tensor]) -> float:
    if [value.shape for value in expected] != [value.shape for value in found]:
        return float("inf")
    worst = 0.0
    for one, other in zip(expected, found, strict=True):
        gap = (one - other).abs().max().nan_to_num(float("inf"))
        worst = max(worst, (gap / one.abs().max().clamp(min=1e-30)).item())
    return worst
