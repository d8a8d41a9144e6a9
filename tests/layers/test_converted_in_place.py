"""A plain layer becomes a variable one by its axes and its class, its parameters as they were."""

import pytest
import torch
from torch import nn

from vsnn_lab import WidthControl, at_width, extract, layers

SIX = ("axis", "in_axis", "out_axis")
TWO = torch.randn(3, 6), torch.randn(3, 9)
# The plain layer, the sizes of its axes, and what it takes.
KINDS = {
    "PReLU": (nn.PReLU(6), dict.fromkeys(SIX, 6), (torch.randn(3, 6, 4),)),
    "Bilinear": (nn.Bilinear(6, 9, 3), {"in1_axis": 6, "in2_axis": 9, "out_axis": 3}, TWO),
    "InstanceNorm1d": (
        nn.InstanceNorm1d(6, affine=True),
        dict.fromkeys(SIX, 6),
        (torch.randn(3, 6, 4),),
    ),
    "InstanceNorm2d": (
        nn.InstanceNorm2d(6, track_running_stats=True).eval(),
        dict.fromkeys(SIX, 6),
        (torch.randn(3, 6, 4, 4),),
    ),
    "InstanceNorm3d": (nn.InstanceNorm3d(6), dict.fromkeys(SIX, 6), (torch.randn(3, 6, 2, 2, 2),)),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_layer_with_axes_and_another_class_is_the_variable_one(name):
    layer, sizes, inputs = KINDS[name]
    form, before = getattr(layers, f"Variable{name}"), layer(*inputs)
    keys, values = list(layer.state_dict()), list(layer.parameters())
    knob = WidthControl(3)
    assert set(form.own_attributes) == set(sizes)
    for attribute, size in sizes.items():
        setattr(layer, attribute, knob.axis(size))
    layer.__class__ = form
    assert torch.equal(layer(*inputs), before)
    assert list(layer.state_dict()) == keys
    assert all(one is other for one, other in zip(layer.parameters(), values, strict=True))
    cut = extract(layer, 2)
    assert type(cut) is getattr(nn, name)
    kept = [x.narrow(1, 0, 2 * x.shape[1] // 3) for x in inputs]
    with at_width(layer, 2):
        torch.testing.assert_close(layer(*inputs), cut(*kept), rtol=1e-6, atol=1e-6)
