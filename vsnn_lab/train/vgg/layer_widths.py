"""A knob for each layer: widths found by the greedy search beside a uniform cut as large."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from vsnn_lab.measure import choose_widths, count_parameters
from vsnn_lab.train.vgg.images import Pair
from vsnn_lab.train.vgg.measuring import accuracy_recalibrated
from vsnn_lab.widths import width_controls

UNIFORM = (8, 16)  # positions of all knobs whose parameters the search may spend


def accuracy_of_layer_widths(
    model: nn.Module, data: Pair, chosen_on: Pair, calibration: Tensor
) -> dict[str, Any]:
    """Return the accuracy of widths that a search finds, and of uniform cuts as large.

    Args:
        model: A VGG with a knob for each layer.
        data: Images as the network takes them, and their classes.
        chosen_on: Others, that the search measures its loss on.
        calibration: Images that the statistics of batch norms are measured on.

    Returns:
        By the position of the uniform cut its accuracy and parameters, and those of what was found
        with the positions of its knobs, in the order of the layers.
    """
    knobs = width_controls(model)
    found: dict[str, Any] = {}
    for position in UNIFORM:
        uniform = dict.fromkeys(knobs, position)
        budget = count_parameters(model, uniform)
        # Running statistics suit no width; those of a batch suit the one that it runs at.
        with statistics_of_batches(model):
            chosen = choose_widths(
                model, F.cross_entropy, chosen_on, max_parameters=budget, progress=False
            )
        found[str(position)] = {
            "uniform": accuracy_recalibrated(model, uniform, data, calibration),
            "chosen": accuracy_recalibrated(model, chosen, data, calibration),
            "parameters": {"uniform": budget, "chosen": count_parameters(model, chosen)},
            "positions": [chosen[knob] for knob in knobs],
        }
    return {"layer_widths": found}


@contextmanager
def statistics_of_batches(model: nn.Module) -> Iterator[None]:
    """Let batch norms, while they are evaluated, normalise by the batch that they get."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    kept = [(norm.running_mean, norm.running_var) for norm in norms]
    try:
        for norm in norms:
            norm.running_mean = norm.running_var = None
        yield
    finally:
        for norm, (mean, variance) in zip(norms, kept, strict=True):
            norm.running_mean, norm.running_var = mean, variance
