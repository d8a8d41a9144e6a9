"""How often a narrow width says what full width does, and what it costs."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vsnn_lab.measure import count_macs, count_parameters, recalibrate
from vsnn_lab.networks import extract
from vsnn_lab.widths import at_width, width_controls

SHARES = {"half": 2, "quarter": 4}
"By what the variable axes are divided."


def positions(net: nn.Module) -> dict[str, int]:
    """Return where the knob stands at half and at quarter width."""
    (knob,) = width_controls(net)
    return {name: knob.steps // part for name, part in SHARES.items()}


def logits_of(net: nn.Module, batches: Iterable[Tensor]) -> Tensor:
    """Return the logits of all images, shape (images, classes)."""
    with torch.no_grad():
        return torch.cat([net(x) for x in batches])


def agreement(logits: Tensor, targets: Tensor) -> float:
    """Return the share of images whose likeliest class is the same, to four digits."""
    return round((logits.argmax(1) == targets.argmax(1)).double().mean().item(), 4)


def agreement_at_widths(
    net: nn.Module, images: Iterable[Tensor], targets: Tensor
) -> dict[str, float]:
    """Return the agreement of each narrow width, by name.

    Args:
        net: A variable network.
        images: Batches that can be read again.
        targets: The logits that these are to agree with.
    """
    found = {}
    for name, position in positions(net).items():
        with at_width(net, position):
            found[name] = agreement(logits_of(net, images), targets)
    return found


def agreement_recalibrated(
    net: nn.Module, some: Sequence[Tensor], images: Iterable[Tensor], targets: Tensor
) -> dict[str, float]:
    """Return the same of each narrow width cut out, once some batches renewed its batch norms."""
    found = {}
    for name, position in positions(net).items():
        cut = extract(net, position)
        recalibrate(cut, list(some))
        found[name] = agreement(logits_of(cut, images), targets)
    return found


def sizes(net: nn.Module, x: Tensor) -> dict[str, Any]:
    """Return the parameters and multiplications of full width, and the share of each narrow one."""
    parameters, macs = count_parameters(net), count_macs(net, None, x)
    found: dict[str, Any] = {"full": {"parameters": parameters, "macs": macs}}
    for name, position in positions(net).items():
        found[name] = {
            "share of parameters": round(count_parameters(net, position) / parameters, 4),
            "share of macs": round(count_macs(net, position, x) / macs, 4),
        }
    return found
