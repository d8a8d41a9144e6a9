"""torch.compile makes a few graphs that serve every width, not one for each."""

import pytest
import torch
from torch import nn

from vsnn_lab import MLP, WidthControl, at_width, layers

STEPS = 16
POSITIONS = [16, 5, 9, 1, 16, 2, 15, 7, 3, 12, 1, 8]


def mlp(knob):
    return MLP(6, (knob.axis(16), knob.axis(32)), 3)


def convolutional(knob):
    width = knob.axis(16)
    return nn.Sequential(
        layers.VariableConv2d(2, width, 3),
        layers.VariableBatchNorm2d(width),
        nn.ReLU(),
        layers.VariableConv2d(width, width, 1, groups=16),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        layers.VariableLayerNorm(width),
        layers.VariableLinear(width, 3),
    ).eval()


@pytest.fixture(params=[(mlp, (6,)), (convolutional, (2, 5, 5))], ids=["mlp", "convolutional"])
def compiled(request):
    """A network, its compiled form, inputs, and a list that grows with every graph."""
    build, shape = request.param
    torch._dynamo.reset()
    graphs = []

    def count(graph, _):
        graphs.append(graph)
        return graph.forward

    net = build(WidthControl(STEPS))
    return net, torch.compile(net, backend=count), torch.randn(4, *shape), graphs


def test_all_widths_together_take_at_most_three_sliced_graphs(compiled):
    net, fast, x, graphs = compiled
    torch.testing.assert_close(fast(x), net(x))
    for position in POSITIONS:
        with at_width(net, position):
            torch.testing.assert_close(fast(x), net(x))
        torch.testing.assert_close(fast(x), net(x))
    assert len(graphs) <= 3


def test_all_width_vectors_together_take_one_masked_graph(compiled):
    net, fast, x, graphs = compiled
    for seed in range(5):
        widths = torch.randint(1, STEPS + 1, (4,), generator=torch.Generator().manual_seed(seed))
        with at_width(net, widths):
            torch.testing.assert_close(fast(x), net(x))
    assert len(graphs) == 1


def test_torchs_configuration_is_as_it_was_afterwards(compiled):
    net, *_ = compiled
    config = torch._dynamo.config
    before = config.allow_unspec_int_on_nn_module
    with at_width(net, 3), at_width(net, 2):
        pass
    assert config.allow_unspec_int_on_nn_module == before


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler, about torch itself
def test_the_default_backend_computes_the_same():
    torch._dynamo.reset()
    net = mlp(WidthControl(STEPS))
    fast, x = torch.compile(net), torch.randn(4, 6)
    for position in (16, 5, 1, 9):
        with at_width(net, position):
            torch.testing.assert_close(fast(x), net(x))
