"""Every layer on axes that are rounded, repeated or joined is torch's layer of the units kept."""

import copy
from itertools import product

import pytest
import torch
from torch import nn

from vsnn_lab import WidthControl, at_width, count_parameters, extract, forward_at_widths, layers
from vsnn_lab.widths import Width, width_controls

STEPS = 5


class Variable:
    """Builds from variable layers."""

    def __getattr__(self, name):
        return getattr(layers, f"Variable{name}")


# Axes, and which units of each stay by a rule that is written by hand. `k` and `m` are positions of
# the first knob and of the second, out of 5 and 3.
def share(units, position, steps):
    return range(-(-units * position // steps))


def rounded(first, second):
    return first.axis(7)


def rounded_by_hand(k, m):
    return [*share(7, k, 5)]


def repeated(first, second):
    return first.axis(4) * 2


def repeated_by_hand(k, m):
    return [2 * unit + element for unit in share(4, k, 5) for element in (0, 1)]


def summed(first, second):
    return first.axis(5) + 2 + first.axis(3) * 2


def summed_by_hand(k, m):
    pairs = [7 + 2 * unit + element for unit in share(3, k, 5) for element in (0, 1)]
    return [*share(5, k, 5), 5, 6, *pairs]


def two_knobs(first, second):
    return first.axis(7) + second.axis(4)


def two_knobs_by_hand(k, m):
    return [*share(7, k, 5), *(7 + unit for unit in share(4, m, 3))]


AXES = {
    rounded: rounded_by_hand,
    repeated: repeated_by_hand,
    summed: summed_by_hand,
    two_knobs: two_knobs_by_hand,
}


# Each builds a network from fixed inputs to fixed outputs of the layers of torch, for a number of
# units, or of variable ones. Softplus is not zero at zero, so what leaks shows.
def size(axis):
    return axis.max_width if isinstance(axis, Width) else axis


def linear(lib, a):
    return nn.Sequential(
        lib.Linear(2, a), nn.Softplus(), lib.Linear(a, a), nn.Softplus(), lib.Linear(a, 2)
    )


def conv2d(lib, a):
    return nn.Sequential(
        lib.Conv2d(2, a, 1), nn.Softplus(), lib.Conv2d(a, a, 3, padding=1), nn.Softplus(),
        lib.Conv2d(a, 2, 1),
    )  # fmt: skip


def depthwise(lib, a):
    return nn.Sequential(
        lib.Conv1d(2, a, 1), nn.Softplus(), lib.Conv1d(a, a, 2, groups=size(a)),
        lib.Conv1d(a, 2, 1),
    )  # fmt: skip


def grouped(lib, a):
    return nn.Sequential(
        lib.Conv1d(2, a * 3, 1), nn.Softplus(), lib.Conv1d(a * 3, a * 2, 2, groups=size(a)),
        lib.Conv1d(a * 2, 2, 1),
    )  # fmt: skip


def transposed(lib, a):
    return nn.Sequential(
        lib.ConvTranspose2d(2, a, 1), nn.Softplus(), lib.ConvTranspose2d(a, a, 2),
        nn.Softplus(), lib.ConvTranspose2d(a, 2, 1),
    )  # fmt: skip


def transposed_groups(lib, a):
    return nn.Sequential(
        lib.Conv1d(2, a * 2, 1), nn.Softplus(),
        lib.ConvTranspose1d(a * 2, a * 3, 2, groups=size(a)), lib.Conv1d(a * 3, 2, 1),
    )  # fmt: skip


def batch_norm(lib, a):
    return nn.Sequential(
        lib.Linear(2, a), lib.BatchNorm1d(a), nn.Softplus(), lib.BatchNorm1d(a, affine=False),
        lib.Linear(a, 2),
    )  # fmt: skip


def batch_norm2d(lib, a):
    return nn.Sequential(
        lib.Conv2d(2, a, 1), lib.BatchNorm2d(a, momentum=None), nn.Softplus(), lib.Conv2d(a, 2, 1)
    )


def layer_norm(lib, a):
    return nn.Sequential(lib.Linear(2, a), lib.LayerNorm(a), nn.Softplus(), lib.Linear(a, 2))


def rms_norm(lib, a):
    return nn.Sequential(lib.Linear(2, a), lib.RMSNorm(a), nn.Softplus(), lib.Linear(a, 2))


def group_norm(lib, a):
    return nn.Sequential(
        lib.Conv1d(2, a * 3, 1), lib.GroupNorm(size(a), a * 3), nn.Softplus(),
        lib.GroupNorm(1, a * 3), lib.Conv1d(a * 3, 2, 1),
    )  # fmt: skip


def instance_norm(lib, a):
    return nn.Sequential(
        lib.Conv1d(2, a, 1), lib.InstanceNorm1d(a, affine=True, track_running_stats=True),
        nn.Softplus(), lib.Conv1d(a, 2, 1),
    )  # fmt: skip


def prelu(lib, a):
    return nn.Sequential(lib.Conv1d(2, a, 1), lib.PReLU(a), lib.Conv1d(a, 2, 1))


def embedding(lib, a):
    return nn.Sequential(lib.Embedding(17, a), nn.Softplus(), lib.Linear(a, 2))


class Twice(nn.Sequential):
    def forward(self, x):
        units = self[0](x).cos()
        return self[2](self[1](units, units).cos())


def bilinear(lib, a):
    return Twice(lib.Linear(2, a), lib.Bilinear(a, a, a), lib.Linear(a, 2))


INPUTS = {
    linear: (2,),
    conv2d: (2, 3, 3),
    depthwise: (2, 3),
    grouped: (2, 3),
    transposed: (2, 2, 2),
    transposed_groups: (2, 3),
    batch_norm: (2,),
    batch_norm2d: (2, 3, 3),
    layer_norm: (2,),
    rms_norm: (2,),
    group_norm: (2, 3),
    instance_norm: (2, 4),
    prelu: (2, 3),
    embedding: (4,),
    bilinear: (2,),
}
each_kind = pytest.mark.parametrize("build", INPUTS, ids=lambda build: build.__name__)
each_axis = pytest.mark.parametrize("axis", AXES, ids=lambda axis: axis.__name__)


def variable_network(build, axis, dtype=torch.float64):
    """Return a network, its full axis, and its knobs as they are called by hand."""
    knobs = WidthControl(STEPS, rounded=True), WidthControl(3, rounded=True)
    made = axis(*knobs)
    net = build(Variable(), made).to(dtype).eval()
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor) + (0.1 if "var" in name else -0.5))
    return net, made, knobs


def dense_network(build, net, made, kept):
    """Build torch's network of the units kept; fill it with those entries of each tensor."""
    plain = build(nn, len(kept)).to(next(net.parameters()).dtype).train(net.training)
    full = made.max_width
    for name, tensor in plain.state_dict().items():
        tensor.copy_(taken(net.state_dict()[name], tensor, kept, full))
    return plain


def indices(whole, part, kept, full):
    """List the entries of each dimension that a network of the units kept has."""
    for have, want in zip(whole.shape, part.shape, strict=True):
        times = have // full
        if have == want:
            yield range(have)
        else:
            assert have == times * full
            assert want == times * len(kept)
            yield [times * unit + element for unit in kept for element in range(times)]


def places_of(whole, part, kept, full):
    """Return those entries as an index of all dimensions at once."""
    chosen = [torch.tensor([*each]) for each in indices(whole, part, kept, full)]
    return torch.meshgrid(*chosen, indexing="ij")


def taken(whole, part, kept, full):
    for dim, chosen in enumerate(indices(whole, part, kept, full)):
        whole = whole.index_select(dim, torch.tensor([*chosen]))
    return whole


def places(axis):
    """List positions of both knobs: all of the first, and of two some pairs."""
    seconds = (1, 2, 3) if axis is two_knobs else (3,)
    return [(k, m) for k, m in product(range(1, STEPS + 1), seconds) if m == 3 or (k + m) % 2]


def setting(net, knobs, k, m):
    return {knob: at for knob, at in zip(knobs, (k, m), strict=True) if knob in width_controls(net)}


def inputs_for(build, dtype=torch.float64, samples=4):
    if build is embedding:
        return torch.randint(0, 17, (samples, *INPUTS[build]))
    return torch.randn(samples, *INPUTS[build], dtype=dtype)


def close(found, expected, tolerance=1e-9):
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@each_axis
@each_kind
def test_sliced_masked_and_extracted_are_torchs_network_of_the_units_kept(build, axis):
    net, made, knobs = variable_network(build, axis)
    x = inputs_for(build)
    for k, m in places(axis):
        plain = dense_network(build, net, made, AXES[axis](k, m))
        expected, at = plain(x), setting(net, knobs, k, m)
        with at_width(net, at):
            close(net(x), expected)
            with torch.no_grad():
                close(net(x), expected)
                close(net(x), expected)  # by slices that it remembers
        with at_width(net, {knob: torch.full((len(x),), place) for knob, place in at.items()}):
            close(net(x), expected)
        cut = extract(net, at)
        close(cut(x), expected)
        assert repr(cut) == repr(plain)
        assert count_parameters(net, at) == sum(p.numel() for p in plain.parameters())
    assert torch.equal(net(x), plain(x))


@each_axis
@each_kind
def test_each_sample_has_units_of_its_own(build, axis, monkeypatch):
    net, made, knobs = variable_network(build, axis)
    x, firsts, seconds = inputs_for(build, samples=6), [2, 1, 5, 3, 1, 4], [3, 1, 2, 1, 3, 2]
    rows = [
        dense_network(build, net, made, AXES[axis](k, m))(x[[row]])
        for row, (k, m) in enumerate(zip(firsts, seconds, strict=True))
    ]
    at = setting(net, knobs, torch.tensor(firsts), torch.tensor(seconds))
    with at_width(net, at):
        close(net(x), torch.cat(rows))
    if axis is two_knobs:
        # A vector on one, and an int on the other.
        with at_width(net, at | {knobs[1]: 2}):
            found = net(x)
        for row, k in enumerate(firsts):
            plain = dense_network(build, net, made, AXES[axis](k, 2))
            close(found[[row]], plain(x[[row]]))
        return
    for smallest in (1, 2, 10**6):
        for name in ("_SMALLEST_RUN", "_SMALLEST_RUN_OF_IMAGES"):
            monkeypatch.setattr(f"vsnn_lab.networks.forward.{name}", smallest)
        close(forward_at_widths(net, x, torch.tensor(firsts)), torch.cat(rows))


@each_axis
@each_kind
def test_gradients_reach_the_units_kept_and_no_others(build, axis):
    net, made, knobs = variable_network(build, axis)
    x = inputs_for(build)
    for k, m in [(1, 2), (2, 1), (4, 3)]:
        kept, at = AXES[axis](k, m), setting(net, knobs, k, m)
        plain = dense_network(build, net, made, kept)
        plain(x).square().sum().backward()
        masked = {knob: torch.full((len(x),), place) for knob, place in at.items()}
        for width in (at, masked):
            net.zero_grad()
            with at_width(net, width):
                net(x).square().sum().backward()
            for name, parameter in plain.named_parameters():
                whole = net.get_parameter(name).grad
                close(taken(whole, parameter, kept, made.max_width), parameter.grad)
                beyond = whole.clone()
                chosen = [
                    torch.tensor([*each])
                    for each in indices(whole, parameter, kept, made.max_width)
                ]
                beyond[torch.meshgrid(*chosen, indexing="ij")] = 0
                assert not beyond.any(), name


@each_axis
@pytest.mark.parametrize("build", [batch_norm, batch_norm2d, instance_norm])
@pytest.mark.parametrize("masked", [0, 1, 2])
def test_norms_train_as_torchs_on_the_units_kept(build, axis, masked):
    for k, m in [(1, 2), (3, 1), (5, 3)]:
        net, made, knobs = variable_network(build, axis)
        net.train()
        before, kept = copy.deepcopy(net.state_dict()), AXES[axis](k, m)
        plain, x, at = (
            dense_network(build, net, made, kept),
            inputs_for(build),
            setting(net, knobs, k, m),
        )
        if masked:
            at = {knob: torch.full((len(x),), place) for knob, place in at.items()}
        with at_width(net, at):
            close(net(x), plain(x))
        for name, part in plain.state_dict().items():
            whole = net.state_dict()[name]
            close(taken(whole, part, kept, made.max_width), part)
            if whole.dim():
                beyond = [unit for unit in range(len(whole)) if unit not in kept]
                if len(whole) == made.max_width:
                    assert torch.equal(whole[beyond], before[name][beyond])


@pytest.mark.parametrize("axis", [rounded, repeated, summed], ids=lambda axis: axis.__name__)
@pytest.mark.parametrize("build", [linear, conv2d, transposed, bilinear], ids=lambda b: b.__name__)
def test_widths_in_series_have_the_gradients_of_each_alone(build, axis, monkeypatch):
    monkeypatch.setattr("vsnn_lab.layers.corners._LARGE", 1)
    for name in ("_SMALLEST_RUN", "_SMALLEST_RUN_OF_IMAGES"):
        monkeypatch.setattr(f"vsnn_lab.networks.forward.{name}", 1)
    net, made, _ = variable_network(build, axis)
    x, positions = inputs_for(build, samples=5), [1, 2, 3, 3, 5]
    forward_at_widths(net, x, torch.tensor(positions)).square().sum().backward()
    found = {name: weight.grad for name, weight in net.named_parameters()}
    expected = {name: torch.zeros_like(weight) for name, weight in net.named_parameters()}
    for row, position in enumerate(positions):
        kept = AXES[axis](position, 3)
        plain = dense_network(build, net, made, kept)
        plain(x[[row]]).square().sum().backward()
        for name, part in plain.named_parameters():
            chosen = [
                torch.tensor([*each])
                for each in indices(expected[name], part, kept, made.max_width)
            ]
            expected[name][torch.meshgrid(*chosen, indexing="ij")] += part.grad
    for name in expected:
        close(found[name], expected[name])


@each_axis
@each_kind
def test_halves_are_those_of_torchs_network(build, axis):
    net, made, knobs = variable_network(build, axis, torch.bfloat16)
    x = inputs_for(build, torch.bfloat16)
    with torch.no_grad():
        for k, m in [(2, 1), (4, 2)]:
            expected = dense_network(build, net, made, AXES[axis](k, m))(x)
            at = setting(net, knobs, k, m)
            masked = {knob: torch.full((len(x),), place) for knob, place in at.items()}
            for width in (at, masked):
                with at_width(net, width):
                    found = net(x)
                assert found.dtype == expected.dtype
                torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05)


def chain(lib, a):
    return nn.Sequential(
        lib.Conv1d(2, a * 2, 1), lib.BatchNorm1d(a * 2), lib.PReLU(a * 2),
        lib.Conv1d(a * 2, a, 1, groups=size(a)), lib.InstanceNorm1d(a), nn.AdaptiveAvgPool1d(1),
        nn.Flatten(), lib.LayerNorm(a), lib.Linear(a, 2),
    )  # fmt: skip


@each_axis
def test_all_widths_together_take_at_most_three_graphs(axis):
    torch._dynamo.reset()
    graphs = []

    def count(graph, _):
        graphs.append(graph)
        return graph.forward

    net, _, knobs = variable_network(chain, axis, torch.float32)
    fast, x = torch.compile(net, backend=count), torch.randn(4, 2, 4)
    with torch.no_grad():
        close(fast(x), net(x), 1e-5)
        for k, m in [(2, 2), (4, 1), (1, 2), (3, 2), (5, 3), (2, 1)]:
            with at_width(net, setting(net, knobs, k, m)):
                close(fast(x), net(x), 1e-5)
            close(fast(x), net(x), 1e-5)
    assert len(graphs) <= 3
