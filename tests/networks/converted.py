"""What the tests of conversion have in common: a network written out at any hidden size."""

from collections.abc import Callable

import torch
from torch import nn

from vsnn_lab import at_width, extract, make_variable
from vsnn_lab.networks.graph.capture import tensors_in


class Applied(nn.Module):
    """Two layers with anything between them.

    Args:
        between: Takes the module, what the first layer gives and the input.
        first: Before it.
        second: Behind it.
        parts: More modules and parameters, by name.
    """

    def __init__(self, between: Callable, first: nn.Module, second: nn.Module, **parts):
        super().__init__()
        self.first, self.second, self.between = first, second, between
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.second(self.between(self, self.first(x), x))


def narrowed(model: nn.Module, narrow: nn.Module) -> nn.Module:
    """Give a network of the same code and smaller sizes the first units of another's weights."""
    state, whole = narrow.state_dict(), model.state_dict()
    for key, value in state.items():
        value.copy_(whole[key][tuple(map(slice, value.shape))])
    return narrow.train(model.training)


def outputs(model: nn.Module, x) -> list[torch.Tensor]:
    """Return all tensors that a network returns for a tensor, a tuple or a dict of arguments."""
    if isinstance(x, dict):
        return tensors_in(model(**x))
    return tensors_in(model(*x) if isinstance(x, tuple) else model(x))


@torch.no_grad()
def check_widths(build: Callable[[int], nn.Module], x, hidden: int = 16, masks: bool = True):
    """Check a converted network at widths against its own code, written out at smaller sizes.

    Args:
        build: Returns the network of a hidden size.
        x: What it takes.
        hidden: That of the network which is converted; as many positions its knob has.
        masks: Whether each sample can have a width of its own.

    Returns:
        The converted network.
    """
    torch.manual_seed(0)
    model = build(hidden).eval()
    net = make_variable(model, x)
    for found, expected in zip(outputs(net, x), outputs(model, x), strict=True):
        assert torch.equal(found, expected)
    rows = {}
    for position in (1, hidden // 3, hidden):
        narrow = narrowed(model, build(position).eval())
        rows[position] = outputs(narrow, x)
        with at_width(net, position):
            torch.testing.assert_close(outputs(net, x), rows[position])
        cut = extract(net, position)
        torch.testing.assert_close(outputs(cut, x), rows[position])
        assert [p.shape for p in cut.parameters()] == [p.shape for p in narrow.parameters()]
    if masks:
        count = len(rows[1][0])
        widths = [[*rows][row % len(rows)] for row in range(count)]
        with at_width(net, torch.tensor(widths)):
            found = outputs(net, x)
        for place, each in enumerate(found):
            expected = [rows[width][place][row] for row, width in enumerate(widths)]
            torch.testing.assert_close(each, torch.stack(expected))
    return net
