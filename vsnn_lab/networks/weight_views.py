"""Cut one width out and leave its weights where they are: views of the model's own."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vsnn_lab.networks.extraction import extract, inner_network
from vsnn_lab.widths import WidthControl, check_controls


def extract_view(model: nn.Module, width: int | Mapping[WidthControl, int]) -> nn.Module:
    """Return the submodel of one width, whose weights take no memory of their own where they may.

    It is what `extract` cuts, for evaluation beside the model: a parameter of it that is the first
    corner of the model's, number for number, is a view of that. Others are copies: what is folded
    for a width, such as the gains of a conditioned norm, and the units of joined axes.

    Writing into one writes into the other, but copies do not follow when the model trains on; cut
    again then. No gradient reaches it, and moving either to a device or a dtype parts them.

    Args:
        model: A module with variable axes.
        width: As in `extract`.

    Raises:
        TypeError: As `extract`.
        ValueError: As `extract`, and if the model has no knob.

    Example:
        >>> from vsnn_lab import MLP, Width
        >>> model = MLP(5, (Width(8),), 2)
        >>> cut = extract_view(model, 3)
        >>> cut[0].weight.shape, cut[0].weight.data_ptr() == model[0].weight.data_ptr()
        (torch.Size([3, 5]), True)
    """
    check_controls(model)
    cut = extract(model, width)
    whole = dict(inner_network(model).named_parameters(remove_duplicate=False))
    # Once for each, so that what is tied stays tied; parts stay, so that no other has their id.
    views: dict[int, tuple[nn.Parameter, nn.Parameter]] = {}
    for path, module in cut.named_modules():
        for name, part in list(module._parameters.items()):
            if part is None:
                continue
            if id(part) not in views:
                source = whole.get(f"{path}.{name}" if path else name)
                view = nn.Parameter(_first_corner(source, part), requires_grad=False)
                views[id(part)] = part, view
            setattr(module, name, views[id(part)][1])
    return cut


def _first_corner(source: Tensor | None, part: Tensor) -> Tensor:
    """Return the first corner of a tensor if it holds what a part of it does, else the part."""
    if source is not None and source.dim() == part.dim() and source.dtype == part.dtype:
        corner = source.detach()[tuple(slice(size) for size in part.shape)]
        if torch.equal(corner, part):
            return corner
    return part.detach()
