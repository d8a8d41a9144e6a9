from collections import Counter

import pytest
import torch
from torch import nn

from vsnn_lab import (
    MLP,
    Autoencoder,
    ConvAutoencoder,
    ConvNet,
    VariableLayerNorm,
    VariableLinear,
    Width,
    WidthControl,
    at_width,
)
from vsnn_lab.networks.trunk import outputs_by_width
from vsnn_lab.widths import single_control

knob = Width(6)


class Reversed(nn.Sequential):
    """A ``Sequential`` that is no chain."""

    def forward(self, x):
        for module in reversed(self):
            x = module(x)
        return x


def octaves():
    """A network whose octaves differ: their corrections are all zero at first."""
    width = Width(20)
    model = MLP(4, (width, width), 2, conditioned=True)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model


@pytest.mark.parametrize(
    ("build", "shared"),
    [
        (lambda: MLP(4, (knob, knob), 2), 2),
        (lambda: MLP(4, (5, knob), 2), 4),
        (lambda: MLP(4, (knob,), 2, nn.Sigmoid), 2),
        (lambda: Autoencoder((4,), knob, (5,)), 4),
        (lambda: Autoencoder((4,), knob, (5,), conditioned=True), 0),
        (lambda: Autoencoder((4,), knob, (knob,)), 3),
        (lambda: ConvAutoencoder((4, 1, 1), knob, (3,)), 4),
        (lambda: nn.Sequential(VariableLinear(4, knob), nn.Softmax(1), VariableLinear(knob, 2)), 1),
        (lambda: nn.Sequential(nn.Softmax(1), VariableLinear(4, knob), VariableLinear(knob, 2)), 2),
        (lambda: nn.Sequential(MLP(4, (3,), 4), MLP(4, (knob,), 2)), 5),
        (lambda: Reversed(VariableLinear(knob, 2), VariableLinear(4, knob)), 0),
        (lambda: VariableLinear(4, knob), 1),
        (lambda: MLP(4, (knob, knob), 2, conditioned=True), 0),
    ],
)
def test_what_comes_before_the_width_first_matters_runs_once_for_all_widths(build, shared, calls):
    model = build()
    x = torch.randn(3, 4, 1, 1) if isinstance(model, ConvAutoencoder) else torch.randn(3, 4)
    outputs = list(outputs_by_width(model, x, range(1, 7)))
    runs = Counter(module for module, *_ in calls if not list(module.children()))
    # Once more each for a single row, so that the chain can refuse its inputs.
    assert sum(count == 2 for count in runs.values()) == shared
    for width, output in enumerate(outputs, 1):
        with at_width(knob.control, width):
            torch.testing.assert_close(output, model(x))


BUILT = {
    "dense": lambda: MLP(4, (Width(6), 5), 2),
    "two variable layers": lambda: MLP(4, (knob, knob), 2),
    "after fixed ones": lambda: Autoencoder((4,), Width(6), (5,)),
    "conditioned": lambda: Autoencoder((4,), Width(6), (5,), conditioned=True),
    "octaves": octaves,
    "convolutional": lambda: ConvNet((4, 1, 1), (knob, knob), 2),
    "convolutional, octaves": lambda: ConvNet((4, 1, 1), (knob, knob), 2, conditioned=True),
    "norm": lambda: nn.Sequential(
        VariableLinear(4, knob), nn.ReLU(), VariableLayerNorm(knob), VariableLinear(knob, 2)
    ),
    "in place": lambda: nn.Sequential(
        VariableLinear(4, knob),
        VariableLinear(knob, knob, bias=False),
        nn.ReLU(inplace=True),
        VariableLinear(knob, 2),
    ),
    "the second part alone": lambda: nn.Sequential(VariableLinear(knob, 4), nn.ReLU()),
    "a layer": lambda: VariableLinear(4, knob),
    "several units a step": lambda: MLP(4, (WidthControl(3).axis(9),), 2),
    "no chain": lambda: Reversed(VariableLinear(knob, 2), VariableLinear(4, knob)),
}


@pytest.mark.parametrize("name", BUILT)
@pytest.mark.parametrize("every", [1, 2, 5])
def test_width_after_width_gives_what_each_width_gives_alone(name, every):
    model = BUILT[name]().double().eval()
    control = single_control(model)
    sizes = {"the second part alone": (6,)} | dict.fromkeys(
        ("convolutional", "convolutional, octaves"), (4, 1, 1)
    )
    x = torch.randn(3, *sizes.get(name, (4,))).double()
    widths = range(1, control.steps + 1, every)
    for width, output in zip(widths, outputs_by_width(model, x, widths), strict=True):
        with at_width(control, width):
            torch.testing.assert_close(output, model(x), rtol=1e-12, atol=1e-12)
        assert not output.requires_grad


def test_what_is_shared_runs_once_and_single_units_are_added(calls):
    model = MLP(4, (5, knob, knob), 2)
    list(outputs_by_width(model, torch.ones(3, 4), range(1, 7)))
    runs = [sum(called is module for called, *_ in calls) for module in model]
    # Once more each for a single row, so that the chain can refuse its inputs.
    assert runs == [2, 2, 2, 2, 1, 7, 7]


def test_a_chain_with_a_hook_runs_whole():
    model, seen = MLP(4, (knob,), 2), []
    model.register_forward_hook(lambda *_: seen.append(1))
    list(outputs_by_width(model, torch.ones(3, 4), range(1, 7)))
    assert len(seen) == 6


def test_the_caller_may_turn_the_knob_between_two_widths():
    model = MLP(4, (knob,), 2)
    for _ in outputs_by_width(model, torch.ones(3, 4), range(1, 7)):
        assert knob.control.position == 6
        with at_width(knob.control, 1):
            assert model[0](torch.ones(3, 4)).shape == (3, 1)


def test_inputs_that_a_chain_refuses_are_refused():
    model = Autoencoder((1, 2, 2), Width(6), (5,))
    with pytest.raises(ValueError, match=r"x must have shape \(batch, 1, 2, 2\), got \(1, 4\)"):
        list(outputs_by_width(model, torch.ones(3, 4), [1, 2]))
