"""Norms under a width vector sum as torch's kernels do: in float32 where activations are halves."""

import pytest
import torch
from torch import nn

from tests.own import own_conv, own_linear
from vsnn_lab import WidthControl, at_width, extract, layers

STEPS = 4
WIDTHS = torch.tensor([2, 4, 1, 3])
# torch itself warns where RMS norms meet weights of another dtype, as they do under autocast.
pytestmark = pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")
HALVES = [torch.float16, torch.bfloat16]


def layer_norm(lib, a):
    return lib.LayerNorm(a), (256,)


def layer_norm_of_tokens(lib, a):
    return lib.LayerNorm(a, eps=1e-3, bias=False), (5, 256)


def rms_norm(lib, a):
    return lib.RMSNorm(a), (256,)


def rms_norm_of_tokens(lib, a):
    return lib.RMSNorm(a, eps=1e-2), (3, 256)


def group_norm(lib, a):
    return lib.GroupNorm(1, a), (256, 6, 6)


KINDS = [layer_norm, layer_norm_of_tokens, rms_norm, rms_norm_of_tokens, group_norm]
each_kind = pytest.mark.parametrize("build", KINDS, ids=lambda build: build.__name__)
# Sums of squares of the first are past the largest float16, those of the last below its smallest.
each_scale = pytest.mark.parametrize("scale", [60.0, 1.0, 1e-4])


class Variable:
    def __getattr__(self, name):
        return getattr(layers, f"Variable{name}")


def norms_of(build, dtype):
    """Return a variable norm with an uneven scale, and torch's norm of each row's width."""
    norm, shape = build(Variable(), WidthControl(STEPS).axis(256))
    for parameter in norm.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    norm.to(dtype)
    dim = 1 if build is group_norm else -1
    rows = []
    for width in WIDTHS.tolist():
        plain = build(nn, 64 * width)[0].to(dtype)
        for found, whole in zip(plain.parameters(), norm.parameters(), strict=True):
            found.data = whole.data[: 64 * width].clone()
        rows.append(plain)
    return norm, rows, shape, dim


def assert_rows_equal(norm, rows, x, dim, rtol):
    with torch.no_grad(), at_width(norm, WIDTHS):
        masked = norm(x)
    for index, (plain, width) in enumerate(zip(rows, WIDTHS.tolist(), strict=True)):
        with torch.no_grad():
            expected = plain(x[index : index + 1].narrow(dim, 0, 64 * width))
        found = masked[index : index + 1].narrow(dim, 0, 64 * width)
        assert found.dtype == expected.dtype
        assert expected.isfinite().all()
        torch.testing.assert_close(found, expected, rtol=rtol, atol=rtol * 1e-2)


@each_kind
@each_scale
@pytest.mark.parametrize("dtype", HALVES)
def test_each_row_is_torchs_norm_of_its_width_to_the_last_place(build, scale, dtype):
    norm, rows, shape, dim = norms_of(build, dtype)
    x = (scale * (torch.randn(4, *shape) + 2)).to(dtype)
    assert_rows_equal(norm, rows, x, dim, rtol=2 * torch.finfo(dtype).eps)


@each_kind
@pytest.mark.parametrize("inputs", [torch.bfloat16, torch.float32])
def test_autocast_gives_masked_outputs_the_dtype_and_the_values_of_torchs_norm(build, inputs):
    norm, rows, shape, dim = norms_of(build, torch.float32)
    x = (60 * torch.randn(4, *shape)).to(inputs)
    with torch.autocast("cpu", torch.bfloat16):
        assert_rows_equal(norm, rows, x, dim, rtol=2 * torch.finfo(torch.bfloat16).eps)


@each_kind
def test_float64_stays_float64(build):
    norm, rows, shape, dim = norms_of(build, torch.float64)
    x = 1e-5 * torch.randn(4, *shape, dtype=torch.float64)
    assert_rows_equal(norm, rows, x, dim, rtol=1e-12)


@each_kind
def test_gradients_of_halves_are_those_of_torchs_norms(build):
    norm, rows, shape, dim = norms_of(build, torch.bfloat16)
    x = (40 * torch.randn(4, *shape)).bfloat16().requires_grad_()
    weights = torch.rand(4, *shape)
    with at_width(norm, WIDTHS):
        y = norm(x)
    mask = torch.zeros_like(y)
    for index, width in enumerate(WIDTHS.tolist()):
        mask[index].narrow(dim if dim < 0 else 0, 0, 64 * width).fill_(1)
    (y * mask * weights).sum().backward()
    for index, (plain, width) in enumerate(zip(rows, WIDTHS.tolist(), strict=True)):
        row = x.detach()[index : index + 1].narrow(dim, 0, 64 * width).clone().requires_grad_()
        kept = weights[index : index + 1].narrow(dim, 0, 64 * width)
        (plain(row) * kept).sum().backward()
        found = x.grad[index : index + 1].narrow(dim, 0, 64 * width)
        torch.testing.assert_close(found, row.grad, rtol=0.05, atol=2e-4)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("mean", [0.0, 5.0, -30.0])
def test_a_batch_norm_of_halves_has_the_statistics_of_float64(dtype, mean):
    norm = layers.VariableBatchNorm2d(WidthControl(2).axis(4)).to(dtype)
    plain = nn.BatchNorm2d(4).double()
    x = (mean + torch.randn(16, 4, 24, 24)).to(dtype)
    with at_width(norm, torch.full((16,), 2)):
        found = norm(x)
    expected, near = plain(x.double()), 2 * torch.finfo(dtype).eps
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, rtol=near, atol=near)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(norm.state_dict()[name].to(value), value, rtol=near, atol=near)


def test_a_network_of_norms_under_autocast_is_at_a_width_vector_what_it_is_at_each_width():
    width = WidthControl(4).axis(64)
    net = nn.Sequential(
        layers.VariableLinear(8, width),
        layers.VariableRMSNorm(width),
        nn.SiLU(),
        layers.VariableLinear(width, width),
        layers.VariableLayerNorm(width),
        layers.VariableLinear(width, 3),
    )
    x = 100 * torch.randn(4, 8)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        with at_width(net, WIDTHS):
            masked = net(x)
        for row, position in enumerate(WIDTHS.tolist()):
            with at_width(net, position):
                torch.testing.assert_close(masked[row], net(x[[row]])[0], rtol=0.03, atol=0.03)


@each_kind
def test_shapes_are_found_without_numbers_and_whole_graphs_compiled(build):
    torch._dynamo.reset()
    norm, _, shape, _ = norms_of(build, torch.bfloat16)
    x = torch.randn(4, *shape).bfloat16()
    with at_width(norm, WIDTHS):
        expected = norm(x)
        found = torch.compile(norm, backend="eager", fullgraph=True)(x)
        torch.testing.assert_close(found, expected)
        assert norm.to("meta")(x.to("meta")).shape == expected.shape


def dense(width):
    return own_linear(4, width), own_linear(width, 3)


def convolutional(width):
    return (
        own_conv(4, width, 1),
        layers.VariableGroupNorm(1, width),
        layers.VariableConv2d(width, 3, 1),
    )


def conditioned(width):
    first, last = own_linear(4, 5, width.control), layers.VariableLinear(width, 3)
    return first, layers.VariableLinear(5, width), last


@pytest.mark.parametrize("build", [dense, convolutional, conditioned])
@pytest.mark.parametrize("samples", [4, 64])
@pytest.mark.parametrize("mode", [*HALVES, "autocast"])
def test_layers_with_corrections_give_one_dtype_by_slices_masks_and_cut(build, samples, mode):
    width = WidthControl(16).axis(16)
    net = nn.Sequential(*build(width))
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.2)
    x = torch.randn(samples, 4, 1, 1) if build is convolutional else torch.randn(samples, 4)
    if mode != "autocast":
        net, x = net.to(mode), x.to(mode)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=mode == "autocast"):
        for position in (1, 5, 12, 16):
            with at_width(net, position):
                sliced = net(x)
            with at_width(net, torch.full((samples,), position)):
                masked = net(x)
            cut = extract(net, position)(x)
            assert sliced.dtype == masked.dtype == cut.dtype
            torch.testing.assert_close(masked, sliced, rtol=0.05, atol=0.1)
            torch.testing.assert_close(cut, sliced, rtol=0.05, atol=0.1)
