"""What a network computes alike at every width, so that several widths can share the work."""

from collections.abc import Iterator

from torch import nn

from vsnn_lab.forward import ELEMENTWISE
from vsnn_lab.layers import ConditionedLinear, VariableLayer
from vsnn_lab.widths import Width


def split_trunk(model: nn.Module) -> tuple[nn.Sequential, nn.Sequential]:
    """Split a chain of modules where its width first matters.

    The first part, run at full width, gives the units of every width at once, as prefixes: nothing
    in it takes what varies, and what follows its variable layer is elementwise. The second part
    takes such a prefix. The modules of both are those of the model; a model that is no chain is
    all in the second part.

    Args:
        model: An ``nn.Sequential``, or one of this package's models.

    Example:
        >>> from vsnn_lab import MLP
        >>> width = Width(8)
        >>> trunk, rest = split_trunk(MLP(4, (width, width), 2))
        >>> len(trunk), len(rest)
        (2, 3)
    """
    modules, shared, varies = list(links(model)), 0, False
    for module in modules:
        if varies and not isinstance(module, ELEMENTWISE):
            break
        if any(isinstance(part, VariableLayer) for part in module.modules()):
            alike = isinstance(module, VariableLayer) and not isinstance(module, ConditionedLinear)
            if not (alike and isinstance(module.in_axis, int)):
                break
            varies = isinstance(module.out_axis, Width)
        shared += 1
    return nn.Sequential(*modules[:shared]), nn.Sequential(*modules[shared:])


def links(model: nn.Module) -> Iterator[nn.Module]:
    """List what a chain applies one after the other, chains inside it opened up."""
    chain = isinstance(model, nn.Sequential) and type(model).forward is nn.Sequential.forward
    if not (chain or getattr(model, "is_chain", False)):
        yield model
        return
    for child in model:
        yield from links(child)
