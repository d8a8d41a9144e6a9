"""Dense networks as numbers for the browser, and drawings through all widths in the kernel."""

import logging

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from vsnn_lab import (
    MLP,
    Autoencoder,
    ConvNet,
    VariableLinear,
    Width,
    WidthControl,
    at_width,
    extract,
)
from vsnn_lab.explore.drawing import input_of, paper_of, run_drawing
from vsnn_lab.export.dense import pack_dense, run_dense

ACTIVATIONS = [
    *(nn.ReLU, nn.Sigmoid, nn.Tanh, nn.SiLU, nn.GELU, nn.Identity, nn.Dropout),
    *(lambda: nn.GELU("tanh"), lambda: nn.LeakyReLU(0.3), lambda: nn.ReLU(inplace=True)),
]


def randomized(model: nn.Module) -> nn.Module:
    """Give corrections, which start at zero, values too."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def rounded(model: nn.Module) -> nn.Module:
    """Give a model weights that half precision has, so that packed they are the same."""
    return model.half().float()


def octaves() -> nn.Module:
    width = Width(20)
    return randomized(MLP(9, (width, width), 4, conditioned=True))


def conditioned() -> nn.Module:
    return randomized(Autoencoder((1, 3, 3), Width(6), hidden=(8,), conditioned=True))


def coarse() -> nn.Module:
    knob = WidthControl(3)
    return rounded(MLP(9, (knob.axis(6), knob.axis(9), 5), 4))


def bare() -> nn.Module:
    width = Width(7)
    first = VariableLinear(9, width, bias=False)
    last = VariableLinear(width, 4, bias=False)
    return rounded(nn.Sequential(nn.Flatten(), first, nn.Tanh(), last))


def prefix_of_fixed() -> nn.Module:
    return rounded(nn.Sequential(nn.Linear(9, 8), nn.ReLU(), VariableLinear(Width(8), 3)))


@pytest.mark.parametrize(
    ("build", "tolerance"),
    [(octaves, 1e-3), (conditioned, 1e-3), (coarse, 1e-6), (bare, 1e-6), (prefix_of_fixed, 1e-6)],
)
def test_packed_networks_equal_the_model_at_every_width(build, tolerance):
    model = build().eval()
    x = torch.rand(32, *getattr(model, "shape", (9,)))
    spec, weights = pack_dense(model, x)
    for width in range(1, spec["steps"] + 1):
        with at_width(model, width):
            expected = model(x).flatten(1)
        found = run_dense(spec, weights, x.flatten(1), width)
        assert (found - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_known_activations_are_packed(activation):
    model = rounded(MLP(6, (Width(5),), 3, activation=activation))
    x = torch.randn(8, 6)
    spec, weights = pack_dense(model, x)
    assert model.training
    with at_width(model.eval(), 4):
        torch.testing.assert_close(run_dense(spec, weights, x, 4), model(x))


def test_weights_that_widths_share_are_packed_once():
    width = Width(64)
    _, weights = pack_dense(MLP(100, (width, width), 10), torch.rand(2, 100))
    assert len(weights) == 2 * (100 * 64 + 64 + 64 * 64 + 64 + 64 * 10 + 10)


def test_a_double_precision_model_is_packed():
    x = torch.rand(3, 6, dtype=torch.float64)
    assert pack_dense(rounded(MLP(6, (Width(4),), 3)).double(), x) is not None


def hooked() -> nn.Module:
    model = MLP(6, (Width(4),), 3)
    model[0].register_forward_hook(lambda module, inputs, output: output + 1)
    return model


class Doubled(nn.ReLU):
    def forward(self, input):
        return 2 * super().forward(input)


class Scaled(VariableLinear):
    def forward(self, input):
        return 2 * super().forward(input)


def overflowing() -> nn.Module:
    model = MLP(6, (Width(4),), 3)
    nn.init.constant_(model[0].weight, 1e5)
    return model


def imprecise() -> nn.Module:
    """Return a network that half precision ruins: large sums that cancel."""
    model = MLP(6, (Width(4),), 3)
    with torch.no_grad():
        model[0].bias.fill_(3001.0)  # an odd number that takes more digits
        model[2].bias.copy_(-3001 * model[2].weight.sum(1))
    return model


REFUSED = [
    (hooked, "not proven"),
    (lambda: MLP(6, (Width(4),), 3, activation=Doubled), "not proven"),
    (lambda: nn.Sequential(Scaled(6, Width(4)), nn.ReLU()), "not proven"),
    (lambda: nn.Sequential(weight_norm(MLP(6, (Width(4),), 3)[2])), "not proven"),
    (lambda: MLP(6, (Width(4),), 3, activation=nn.ELU), "neither dense nor a known"),
    (lambda: nn.Sequential(nn.Tanh(), *MLP(6, (Width(4),), 3)), "begins with Tanh"),
    (lambda: nn.Sequential(VariableLinear(6, Width(4))), "as many numbers as the width"),
    (lambda: nn.Sequential(*MLP(6, (Width(4),), 3), nn.Softmax(1)), "neither dense"),
    (
        lambda: nn.Sequential(nn.Unflatten(1, (2, 3)), *MLP(3, (Width(4),), 3)),
        "inputs of shape (32, 2, 3)",
    ),
    (overflowing, "cannot hold"),
    (imprecise, "gives other outputs"),
    (lambda: MLP(6, (Width(4096),), 300), "has more weights"),
    (lambda: MLP(6, (Width(4), Width(4)), 3), "has several knobs"),
]


@pytest.mark.parametrize(("build", "reason"), REFUSED)
def test_what_is_not_surely_right_is_not_packed(build, reason, caplog):
    with caplog.at_level(logging.DEBUG, "vsnn_lab.export.dense"):
        assert pack_dense(build(), torch.rand(40, 6)) is None
    assert reason in caplog.text


def test_a_convolution_is_not_packed():
    assert pack_dense(ConvNet((1, 8, 8), (Width(4),), 3), torch.rand(2, 1, 8, 8)) is None


def test_corrections_count_towards_the_budget():
    model, x = octaves(), torch.rand(32, 9)
    _, weights = pack_dense(model, x)
    assert pack_dense(model, x, most=len(weights)) is not None
    assert pack_dense(model, x, most=len(weights) - 2) is None


def test_inputs_are_images_or_flat_ones():
    images = torch.rand(4, 1, 3, 5)
    assert input_of(images, images)(images) is images
    for inputs in (images.flatten(1), images.flatten(1).double(), images.flatten(1).bfloat16()):
        assert input_of(images, inputs)(images).shape == (4, 15)
    for inputs in (images * 2 - 1, images.flatten(1).flip(1), images.flatten(2), images[:2]):
        assert input_of(images, inputs) is None


def test_paper_is_as_the_edges_of_the_images():
    digits = torch.zeros(2, 1, 8, 8)
    digits[:, :, 2:6, 2:6] = 1
    assert (paper_of(digits), paper_of(1 - digits)) == (0, 255)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_drawing_goes_through_each_width(dtype):
    model = Autoencoder((3, 4, 5), Width(7), hidden=(9,)).to(dtype)
    pixels = torch.randint(256, (3, 4, 5), dtype=torch.uint8)
    answer = run_drawing(
        model, pixels.numpy().tobytes(), (3, 4, 5), lambda x: x, [1, 3, 7], classes=False
    )
    assert (answer.dtype, answer.shape, model.training) == (np.uint8, (3, 4, 5, 3), True)
    for found, width in zip(answer, [1, 3, 7], strict=True):
        expected = extract(model, width)(pixels[None].to(dtype) / 255)[0].permute(1, 2, 0)
        assert np.abs(found - 255 * expected.detach().float().numpy()).max() <= 1.6


def test_a_drawing_has_probabilities_of_classes_at_each_width():
    model = octaves()
    pixels = bytes(range(0, 90, 10))
    answer = run_drawing(model, pixels, (1, 3, 3), input_of_flat(), range(1, 21), classes=True)
    assert (answer.dtype, answer.shape) == (np.float32, (20, 4))
    x = torch.arange(0, 90, 10)[None] / 255
    for found, width in zip(answer, range(1, 21), strict=True):
        expected = extract(model, width)(x).softmax(1)[0].detach().numpy()
        np.testing.assert_allclose(found, expected, atol=1e-6)


def input_of_flat():
    images = torch.rand(2, 1, 3, 3)
    return input_of(images, images.flatten(1))


def test_a_drawing_that_does_not_fit_is_refused():
    model = MLP(9, (Width(4),), 4)
    flat = input_of_flat()
    with pytest.raises(ValueError, match=r"pixels must be 9 bytes .* got 8"):
        run_drawing(model, bytes(8), (1, 3, 3), flat, [1], classes=True)
    with pytest.raises(ValueError, match=r"must return images of shape \(1, 3, 3\), got \(4,\)"):
        run_drawing(model, bytes(9), (1, 3, 3), flat, [1], classes=False)
    nn.init.constant_(model[2].bias, torch.nan)
    with pytest.raises(ValueError, match="must return finite numbers"):
        run_drawing(model, bytes(9), (1, 3, 3), flat, [1], classes=True)
