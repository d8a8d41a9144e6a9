"""Every variable layer is, at every width, the torch layer of that width."""

import copy
import pickle

import pytest
import torch
from torch import nn

from vsnn_lab import Width, WidthControl, at_width, extract, forward_at_widths, layers
from vsnn_lab.layers import VariableLayer

STEPS = 3


class Variable:
    """Builds from variable layers."""

    def __getattr__(self, name):
        return getattr(layers, f"Variable{name}")


# Each builds a network from fixed inputs to fixed outputs with the layer in question between two
# variable axes: `lib` is torch.nn for ints and the variable layers for widths; `a` and `b` are axes
# of 6 and 9 units at full width. Softplus is not zero at zero, so what leaks shows.
def linear(lib, a, b):
    return nn.Sequential(
        lib.Linear(5, a),
        nn.Softplus(),
        lib.Linear(a, b, bias=False),
        nn.Softplus(),
        lib.Linear(b, 2),
    )


def conv1d(lib, a, b):
    return nn.Sequential(
        lib.Conv1d(2, a, 3, padding="same"),
        nn.Softplus(),
        lib.Conv1d(a, b, 3, stride=2, padding=1, dilation=2, padding_mode="reflect"),
        nn.Softplus(),
        lib.Conv1d(b, 2, 1),
    )


def conv2d(lib, a, b):
    return nn.Sequential(
        lib.Conv2d(2, a, (3, 1), bias=False),
        nn.Softplus(),
        lib.Conv2d(a, b, (2, 3), stride=(1, 2), padding=(1, 0), padding_mode="circular"),
        nn.Softplus(),
        lib.Conv2d(b, 2, 2),
    )


def depthwise(lib, a, b):
    groups = 6 if isinstance(a, Width) else a
    return nn.Sequential(
        lib.Conv2d(2, a, 1), nn.Softplus(), lib.Conv2d(a, a, 3, groups=groups), lib.Conv2d(a, 2, 1)
    )


def grouped(lib, a, b):
    groups = 3 if isinstance(a, Width) else a // 2
    return nn.Sequential(
        lib.Conv1d(2, a, 1), nn.Softplus(), lib.Conv1d(a, b, 3, groups=groups), lib.Conv1d(b, 2, 1)
    )


def conv3d(lib, a, b):
    return nn.Sequential(
        lib.Conv3d(2, a, 2), nn.Softplus(), lib.Conv3d(a, b, (1, 2, 1)), lib.Conv3d(b, 2, 1)
    )


def transposed1d(lib, a, b):
    return nn.Sequential(
        lib.ConvTranspose1d(2, a, 3),
        nn.Softplus(),
        lib.ConvTranspose1d(a, b, 2, stride=2, bias=False),
        nn.Softplus(),
        lib.Conv1d(b, 2, 1),
    )


def transposed2d(lib, a, b):
    groups = 3 if isinstance(a, Width) else a // 2
    return nn.Sequential(
        lib.Conv2d(2, a, 1),
        nn.Softplus(),
        lib.ConvTranspose2d(a, b, 3, stride=2, padding=1, output_padding=1, groups=groups),
        nn.Softplus(),
        lib.ConvTranspose2d(b, 2, 2),
    )


def transposed3d(lib, a, b):
    return nn.Sequential(lib.ConvTranspose3d(2, a, 2), nn.Softplus(), lib.ConvTranspose3d(a, 2, 1))


def batch_norm1d(lib, a, b):
    return nn.Sequential(
        lib.Linear(5, a), lib.BatchNorm1d(a), nn.Softplus(), lib.Linear(a, 2), lib.BatchNorm1d(2)
    )


def batch_norm2d(lib, a, b):
    return nn.Sequential(
        lib.Conv2d(2, a, 2), lib.BatchNorm2d(a, affine=False), nn.Softplus(), lib.Conv2d(a, 2, 1)
    )


def batch_norm3d(lib, a, b):
    return nn.Sequential(
        lib.Conv3d(2, a, 2), lib.BatchNorm3d(a, momentum=None), nn.Softplus(), lib.Conv3d(a, 2, 1)
    )


def layer_norm(lib, a, b):
    return nn.Sequential(
        lib.Linear(5, b), lib.LayerNorm(b), nn.Softplus(), lib.LayerNorm(b, bias=False),
        lib.Linear(b, 2),
    )  # fmt: skip


def rms_norm(lib, a, b):
    return nn.Sequential(
        lib.Linear(5, b), lib.RMSNorm(b), nn.Softplus(), lib.RMSNorm(b, eps=1e-3), lib.Linear(b, 2)
    )


def group_norm(lib, a, b):
    groups = 3 if isinstance(a, Width) else a // 2
    return nn.Sequential(
        lib.Conv2d(2, a, 2), lib.GroupNorm(groups, a), nn.Softplus(), lib.GroupNorm(1, a),
        lib.Conv2d(a, 2, 1),
    )  # fmt: skip


def prelu(lib, a, b):
    return nn.Sequential(
        lib.Conv2d(2, a, 2), lib.PReLU(a), lib.PReLU(), lib.Conv2d(a, b, 1), lib.PReLU(1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), lib.PReLU(b), lib.Linear(b, 2),
    )  # fmt: skip


def instance_norm1d(lib, a, b):
    return nn.Sequential(
        lib.Conv1d(2, a, 2), lib.InstanceNorm1d(a), nn.Softplus(),
        lib.InstanceNorm1d(a, affine=True), lib.Conv1d(a, 2, 1),
    )  # fmt: skip


def instance_norm2d(lib, a, b):
    return nn.Sequential(
        lib.Conv2d(2, a, 2), lib.InstanceNorm2d(a, affine=True, track_running_stats=True),
        nn.Softplus(), lib.Conv2d(a, 2, 1),
    )  # fmt: skip


def instance_norm3d(lib, a, b):
    return nn.Sequential(
        lib.Conv3d(2, a, 2), lib.InstanceNorm3d(a, track_running_stats=True), nn.Softplus(),
        lib.Conv3d(a, 2, 1), lib.InstanceNorm3d(2, affine=True),
    )  # fmt: skip


class Pairs(nn.Sequential):
    """Gives each input to two layers, and what they return to the third."""

    def forward(self, x):
        return self[3](self[2](self[0](x).cos(), self[1](x).cos()).cos())


def bilinear(lib, a, b):
    return Pairs(lib.Linear(5, a), lib.Linear(5, b), lib.Bilinear(a, b, a), lib.Linear(a, 2))


def embedding(lib, a, b):
    return nn.Sequential(lib.Embedding(7, b, padding_idx=0), nn.Softplus(), lib.Linear(b, 2))


OWN_TESTS = {  # layers with a test module of their own
    layers.VariableGRU,
    layers.VariableLSTM,
    layers.VariableMultiheadAttention,
    layers.VariableRNN,
    layers.TriangularDropout,
    layers.ConditionedRMSNorm,
}
INPUTS = {
    linear: (5,),
    conv1d: (2, 11),
    conv2d: (2, 7, 8),
    depthwise: (2, 5, 6),
    grouped: (2, 6),
    conv3d: (2, 3, 4, 3),
    transposed1d: (2, 5),
    transposed2d: (2, 3, 4),
    transposed3d: (2, 2, 3, 2),
    batch_norm1d: (5,),
    batch_norm2d: (2, 4, 4),
    batch_norm3d: (2, 3, 3, 3),
    layer_norm: (4, 5),
    rms_norm: (5,),
    group_norm: (2, 4, 5),
    prelu: (2, 4, 5),
    instance_norm1d: (2, 5),
    instance_norm2d: (2, 4, 4),
    instance_norm3d: (2, 3, 3, 3),
    bilinear: (5,),
    embedding: (4,),
}
each_kind = pytest.mark.parametrize("build", INPUTS, ids=lambda build: build.__name__)


def variable_network(build, dtype=torch.float64):
    knob = WidthControl(STEPS)
    net = build(Variable(), knob.axis(6), knob.axis(9)).to(dtype).eval()
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if tensor.is_floating_point():  # statistics and scales that are not trivial
                tensor.copy_(torch.rand_like(tensor) + (0.1 if "var" in name else -0.5))
    return net


def dense_network(build, net, position):
    """Build the torch network of one width; fill it with the first entries of each tensor."""
    plain = build(nn, 2 * position, 3 * position).to(next(net.parameters()).dtype).eval()
    source = net.state_dict()
    cut = {
        name: source[name][tuple(slice(size) for size in tensor.shape)]
        for name, tensor in plain.state_dict().items()
    }
    plain.load_state_dict(cut)
    return plain


def inputs_for(build, net, samples=4):
    if build is embedding:
        return torch.randint(0, 7, (samples, *INPUTS[build]))
    return torch.randn(samples, *INPUTS[build], dtype=next(net.parameters()).dtype)


@each_kind
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
def test_masked_sliced_and_extracted_equal_the_torch_network_of_that_width(build, dtype, tolerance):
    net = variable_network(build, dtype)
    x = inputs_for(build, net)
    for position in range(1, STEPS + 1):
        plain = dense_network(build, net, position)
        expected = plain(x)
        with at_width(net, position):
            sliced = net(x)
        with at_width(net, torch.full((len(x),), position)):
            masked = net(x)
        cut = extract(net, position)
        for output in (sliced, masked, cut(x)):
            torch.testing.assert_close(output, expected, rtol=tolerance, atol=tolerance)
        assert repr(cut) == repr(plain)
        assert list(cut.state_dict()) == list(plain.state_dict())


@each_kind
def test_full_width_is_the_torch_network_to_the_last_bit(build):
    net = variable_network(build)
    x = inputs_for(build, net)
    assert torch.equal(net(x), dense_network(build, net, STEPS)(x))


@each_kind
def test_every_sample_gets_its_own_width_by_runs_and_by_masks(build, monkeypatch):
    net = variable_network(build)
    x = inputs_for(build, net, samples=5)
    positions = [2, 1, 3, 1, 2]
    rows = [dense_network(build, net, position)(x[[row]]) for row, position in enumerate(positions)]
    expected = torch.cat(rows)
    for smallest_run in (0, 10**6):
        monkeypatch.setattr("vsnn_lab.networks.forward._SMALLEST_RUN", smallest_run)
        output = forward_at_widths(net, x, torch.tensor(positions))
        torch.testing.assert_close(output, expected, rtol=1e-10, atol=1e-10)


@each_kind
def test_gradients_equal_those_of_the_torch_network_and_are_zero_beyond_the_width(build):
    net = variable_network(build)
    x = inputs_for(build, net)
    for position in range(1, STEPS + 1):
        plain = dense_network(build, net, position)
        plain(x).square().sum().backward()
        for width in (position, torch.full((len(x),), position)):
            net.zero_grad()
            with at_width(net, width):
                net(x).square().sum().backward()
            for name, parameter in plain.named_parameters():
                whole = net.get_parameter(name).grad
                kept = tuple(slice(size) for size in parameter.shape)
                torch.testing.assert_close(whole[kept], parameter.grad, rtol=1e-8, atol=1e-9)
                whole[kept] = 0
                assert not whole.any(), name


@each_kind
@pytest.mark.parametrize("clone", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_computes_the_same_with_a_knob_of_its_own(build, clone):
    net = variable_network(build)
    twin, x = clone(net), inputs_for(build, net)
    with at_width(net, 2), at_width(twin, 2):
        assert torch.equal(net(x), twin(x))
    with at_width(net, 1):
        assert torch.equal(twin(x), dense_network(build, net, STEPS)(x))


@pytest.mark.parametrize("build", [batch_norm1d, batch_norm2d, batch_norm3d])
def test_a_sliced_batch_norm_trains_like_the_torch_one_of_that_width(build):
    net = variable_network(build)
    x = inputs_for(build, net, samples=6)
    for position in range(1, STEPS + 1):
        plain = dense_network(build, net, position).train()
        before = copy.deepcopy(net.state_dict())
        with at_width(net.train(), position):
            torch.testing.assert_close(net(x), plain(x), rtol=1e-10, atol=1e-10)
        for name, expected in plain.state_dict().items():
            kept = tuple(slice(size) for size in expected.shape)
            whole = net.state_dict()[name]
            torch.testing.assert_close(whole[kept], expected, rtol=1e-10, atol=1e-10)
            rest = torch.ones_like(whole, dtype=torch.bool)
            rest[kept] = False
            assert torch.equal(whole[rest], before[name][rest])


@pytest.mark.parametrize("momentum", [0.3, None])
def test_a_masked_batch_norm_trains_each_channel_on_the_samples_that_keep_it(momentum):
    axis = WidthControl(4).axis(4)
    norm = layers.VariableBatchNorm2d(axis, momentum=momentum).double()
    x = torch.randn(5, 4, 3, 2, dtype=torch.float64)
    widths = torch.tensor([1, 3, 3, 2, 1])  # nobody keeps the last channel
    with at_width(axis.control, widths):
        output = norm(x)
    share = 1.0 if momentum is None else momentum
    for channel in range(3):
        kept = widths > channel
        values = x[kept, channel]
        mean, variance = values.mean(), values.var(unbiased=False)
        expected = (values - mean) / (variance + norm.eps).sqrt()
        torch.testing.assert_close(output[kept, channel], expected)
        torch.testing.assert_close(norm.running_mean[channel], share * mean)
        running = 1 - share + share * values.var(unbiased=True)
        torch.testing.assert_close(norm.running_var[channel], running)
    assert norm.running_mean[3] == 0
    assert norm.running_var[3] == 1
    assert norm.num_batches_tracked == 1


def test_a_network_of_every_layer_has_the_state_of_the_torch_one():
    for build in INPUTS:
        net = variable_network(build)
        assert list(net.state_dict()) == list(build(nn, 6, 9).state_dict())
        build(nn, 6, 9).load_state_dict(net.float().state_dict())


def test_layers_take_inputs_without_a_batch_where_torch_does():
    axis = WidthControl(3).axis(6)
    conv = layers.VariableConv2d(axis, 4, 1)
    with at_width(axis.control, 2):
        assert conv(torch.ones(6, 5, 5)).shape == (4, 5, 5)
    with (
        at_width(axis.control, torch.ones(6, dtype=torch.long)),
        pytest.raises(ValueError, match="one row for each of the 6 widths"),
    ):
        conv(torch.ones(6, 5, 5))


def test_transposed_convolutions_take_an_output_size():
    axis = WidthControl(3).axis(6)
    layer = layers.VariableConvTranspose2d(axis, 4, 3, stride=2, padding=1)
    with at_width(axis.control, 1):
        assert layer(torch.ones(1, 6, 5, 5), output_size=[10, 10]).shape == (1, 4, 10, 10)


class TestTriangularDropout:
    def test_it_trains_the_triangle_and_passes_on_when_evaluated(self):
        dropout = layers.TriangularDropout()
        x = torch.rand(4, 4) + 1
        assert torch.equal(dropout(x), x.tril())
        assert torch.equal(dropout.eval()(x), x)

    def test_it_masks_the_stated_dimension_repeatably(self):
        from vsnn_lab import Uniform

        x = torch.ones(6, 5, 3)
        first, second = (
            layers.TriangularDropout(Uniform(), 1, torch.Generator().manual_seed(1))(x)
            for _ in range(2)
        )
        assert torch.equal(first, second)
        assert (first.sum(2) % 3 == 0).all()
        assert (first[:, :-1] >= first[:, 1:]).all()

    def test_its_gradient_beyond_the_width_is_zero(self):
        x = torch.ones(3, 3, requires_grad=True)
        layers.TriangularDropout()(x).sum().backward()
        assert torch.equal(x.grad, torch.ones(3, 3).tril())

    def test_it_becomes_an_identity_with_nothing_of_ours(self):
        net = nn.Sequential(layers.VariableLinear(2, WidthControl(3).axis(3)))
        net.append(layers.TriangularDropout())
        cut = extract(net, 2)
        assert type(cut[1]) is nn.Identity
        assert not any("vsnn_lab" in type(v).__module__ for v in vars(cut[1]).values())

    @pytest.mark.parametrize(
        ("call", "error", "message"),
        [
            (lambda d: d(torch.ones(3)), ValueError, r"units in dimension -1, got shape \(3,\)"),
            (lambda d: type(d)(dim=0)(torch.ones(3, 3)), ValueError, "units in dimension 0"),
            (lambda d: type(d)(dim=2)(torch.ones(3, 3)), ValueError, "units in dimension 2"),
            (lambda d: type(d)(dim=-2)(torch.ones(3, 3)), ValueError, "units in dimension -2"),
            (lambda d: type(d)(3), TypeError, "width must be a Width, a sampler or None, got 3"),
            (lambda d: type(d)(dim=1.0), TypeError, r"dim must be an integer, got 1\.0"),
        ],
    )
    def test_what_it_cannot_mask_is_refused(self, call, error, message):
        with pytest.raises(error, match=message):
            call(layers.TriangularDropout())


SIX = WidthControl(3).axis(6)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: layers.VariableConv2d(SIX, 4, 3, groups=2),
            ValueError,
            "groups must be cut whole",
        ),
        (lambda: layers.VariableConv2d(SIX, SIX, 3, groups=2), ValueError, "got groups=2"),
        (
            lambda: layers.VariableConv2d(SIX, WidthControl(3).axis(6), 3, groups=3),
            ValueError,
            "groups must be cut whole",
        ),
        (lambda: layers.VariableConv1d(2.0, SIX, 3), TypeError, "in_channels must be an integer"),
        (lambda: layers.VariableConv1d(2, 0, 3), ValueError, "out_channels must be at least 1"),
        (lambda: layers.VariableBatchNorm1d("6"), TypeError, "num_features must be an integer"),
        (lambda: layers.VariableGroupNorm(2, SIX), ValueError, "num_groups must be cut whole"),
        (lambda: layers.VariableLayerNorm((4, SIX)), ValueError, "the last axis alone"),
        (lambda: layers.VariableRMSNorm(0), ValueError, "normalized_shape must be at least 1"),
        (lambda: layers.VariableEmbedding(4, SIX, max_norm=1.0), ValueError, "max_norm must not"),
        (lambda: layers.VariableEmbedding(4, SIX, sparse=True), ValueError, "sparse must not"),
        (lambda: layers.VariableEmbedding(4, None), TypeError, "embedding_dim must be an integer"),
    ],
)
def test_a_layer_that_cannot_be_cut_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_every_variable_layer_is_tested_here():
    used = {
        type(module)
        for build in INPUTS
        for module in variable_network(build).modules()
        if isinstance(module, VariableLayer)
    } | OWN_TESTS
    public = {getattr(layers, name) for name in layers.__all__} - {VariableLayer}
    assert used == public
