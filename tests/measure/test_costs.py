import copy
import re

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune
from torch.utils.flop_counter import FlopCounterMode

from tests.grammar import CONTAINERS, STEPS, networks
from vsnn_lab import (
    MLP,
    Autoencoder,
    ConvAutoencoder,
    VariableLinear,
    Width,
    WidthControl,
    at_width,
    extract,
)
from vsnn_lab.layers import (
    VariableBatchNorm2d,
    VariableConv2d,
    VariableConvTranspose2d,
    VariableEmbedding,
)
from vsnn_lab.measure import costs
from vsnn_lab.measure.costs import (
    Latency,
    count_macs,
    count_macs_by_width,
    count_parameters,
    measure_latency,
)
from vsnn_lab.measure.products import count_products


class Shared(nn.Module):
    """A network that uses one variable layer twice and holds a parameter of its own."""

    def __init__(self):
        super().__init__()
        width = WidthControl(4).axis(8)
        self.first = VariableLinear(5, width, bias=False)
        self.second = self.again = VariableLinear(width, width)
        self.scale = nn.Parameter(torch.ones(3))
        self.last = nn.Sequential(VariableLinear(width, 3), nn.BatchNorm1d(3))


def conv_net(width):
    """Two convolutions, a depthwise one between, and a transposed one back, on 8 x 8 pixels."""
    return nn.Sequential(
        VariableConv2d(3, width, (3, 5), stride=2, padding=(1, 2), bias=False),
        VariableBatchNorm2d(width),
        nn.ReLU(),
        VariableConv2d(width, width, 3, padding=1, groups=6),
        VariableConvTranspose2d(width, 2, 2, stride=2),
    )


@pytest.fixture
def net():
    width = Width(6)
    return MLP(4, (width, width), 3, nn.Sigmoid)


@pytest.mark.parametrize(
    ("make", "steps"),
    [
        (lambda: MLP(4, (Width(6),), 3), 6),
        (lambda: MLP(Width(5), (), 3), 5),
        (Shared, 4),
        (lambda: Autoencoder((1, 4, 4), Width(6), hidden=(7,)), 6),
        (lambda: nn.Sequential(nn.Linear(3, 2), VariableLinear(2, Width(3))), 3),
        (lambda: conv_net(WidthControl(3).axis(6)), 3),
    ],
)
def test_the_count_is_that_of_the_extracted_network_at_every_width(make, steps):
    model = make()
    for width in range(1, steps + 1):
        expected = sum(p.numel() for p in extract(model, width).parameters())
        assert count_parameters(model, width) == expected
    assert count_parameters(model) == sum(p.numel() for p in model.parameters())


class LanguageModel(nn.Module):
    """An embedding whose weight is the head's, a frozen layer, buffers, a list of parameters."""

    def __init__(self):
        super().__init__()
        width = Width(6)
        self.embed, self.hidden = VariableEmbedding(9, width), VariableLinear(width, width)
        self.head = VariableLinear(width, 9, bias=False)
        self.head.weight = self.embed.weight
        self.hidden.requires_grad_(False)
        self.register_buffer("mask", torch.ones(7, 7))
        self.gains = nn.ParameterList([torch.ones(3), torch.ones(2)])


class PlainlyTied(nn.Module):
    """Our layer's weight in a plain one, and a module under two names."""

    def __init__(self):
        super().__init__()
        width = Width(6)
        self.embed, self.plain = VariableEmbedding(9, width), nn.Linear(6, 9, bias=False)
        self.plain.weight = self.embed.weight
        self.norm = self.again = nn.LayerNorm(4)


def flattened():
    channels = Width(6)
    return nn.Sequential(
        VariableConv2d(1, channels, 2), nn.Flatten(), VariableLinear(channels * 4, 2)
    )


@settings(max_examples=60)
@given(
    st.sampled_from([LanguageModel, PlainlyTied, flattened, lambda: parametrized()]),
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.booleans(),
    st.integers(1, 6),
)
def test_the_count_is_that_of_the_cut_whatever_is_tied_frozen_or_kept_beside(
    make, sizes, conditioned, width
):
    axis = Width(6)
    chain = MLP(sizes[0], (axis, *sizes[1:]), 2, conditioned=conditioned)
    for parameter in list(chain.parameters())[::2]:
        parameter.requires_grad_(False)
    for model in (make(), chain):
        expected = sum(parameter.numel() for parameter in extract(model, width).parameters())
        assert count_parameters(model, width) == expected


class OwnLayer(VariableLinear):
    """A layer that somebody derived from ours, with a parameter of its own."""

    def __init__(self):
        super().__init__(3, Width(6))
        self.gain = nn.Parameter(torch.ones(6))


def weight_normed():
    return nn.Sequential(nn.utils.parametrizations.weight_norm(VariableLinear(3, Width(6))))


def pruned():
    layer = VariableLinear(3, Width(6))
    return prune.l1_unstructured(layer, "weight", 4)


@pytest.mark.parametrize("make", [OwnLayer, weight_normed, pruned])
def test_of_layers_that_others_changed_the_cut_alone_tells_the_count(make):
    model = make()
    try:
        expected = sum(parameter.numel() for parameter in extract(model, 2).parameters())
    except (TypeError, ValueError) as refusal:
        with pytest.raises(type(refusal), match=re.escape(str(refusal))):
            count_parameters(model, 2)
    else:
        assert count_parameters(model, 2) == expected


class Products(nn.Module):
    """A network that multiplies outside its layers, as attention does."""

    def __init__(self):
        super().__init__()
        self.keys = VariableLinear(5, Width(6))

    def forward(self, x):
        keys = self.keys(x)
        return keys @ keys.T


class Twice(nn.Module):
    """A network whose one layer is applied twice, by two names."""

    def __init__(self):
        super().__init__()
        width = Width(6)
        self.first = VariableLinear(5, width)
        self.second = self.again = VariableLinear(width, width)

    def forward(self, x):
        return self.again(self.second(self.first(x)))


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: MLP(5, (Width(6), 4), 3), (5,)),
        (lambda: MLP(5, (Width(6),), 3, conditioned=True), (5,)),
        (lambda: nn.Sequential(nn.Linear(5, 2), nn.Sequential(VariableLinear(2, Width(6)))), (5,)),
        (lambda: conv_net(Width(6)), (3, 8, 8)),
        (lambda: ConvAutoencoder((1, 4, 4), Width(6), (3,)), (1, 4, 4)),
        (lambda: conv_net(WidthControl(6).axis(12)), (3, 8, 8)),
        (Products, (5,)),
        (Twice, (5,)),
    ],
)
def test_products_at_several_widths_are_those_at_each(make, shape):
    model, inputs = make(), torch.ones(2, *shape)
    found = count_macs_by_width(model, [1, 2, 5, 6], inputs)
    assert found == [count_macs(model, width, inputs) for width in (1, 2, 5, 6)]
    assert found == sorted(set(found))


@pytest.mark.parametrize(("make", "forwards"), [(lambda: conv_net(Width(6)), 2), (Products, 4)])
def test_the_layers_tell_the_products_of_all_widths_from_two_forwards(make, forwards, monkeypatch):
    shapes = []

    def count(network, x):
        shapes.append(tuple(x.shape))
        return count_products(network, x)

    monkeypatch.setattr(costs, "count_products", count)
    shape = (5,) if make is Products else (3, 8, 8)
    count_macs_by_width(make(), [1, 2, 3, 6], torch.ones(7, *shape))
    assert shapes == [(1, *shape)] * forwards


class Branching(nn.Module):
    """A network that does more at one of its widths."""

    def __init__(self):
        super().__init__()
        self.first, self.more = VariableLinear(5, Width(6)), nn.Linear(5, 7)

    def forward(self, x):
        return self.more(x) if len(self.first(x)[0]) == 3 else self.first(x)


class SharedByParents(nn.Module):
    """One layer in two branches, and a product of its weight outside it."""

    def __init__(self):
        super().__init__()
        width = Width(6)
        layer = VariableLinear(width, width)
        self.first = VariableLinear(5, width)
        self.one, self.other = nn.Sequential(layer), nn.Sequential(nn.ReLU(), layer)

    def forward(self, x):
        y = self.other(self.one(self.first(x)))
        return nn.functional.linear(y, self.one[0].weight.T @ self.other[1].weight)


class Unregistered(nn.Module):
    """A network whose second layer torch knows nothing of."""

    def __init__(self):
        super().__init__()
        self.first, self.hidden = VariableLinear(5, Width(6)), [nn.Linear(5, 4)]

    def forward(self, x):
        return self.hidden[0](x).sum() + self.first(x)


def hooked():
    net = MLP(5, (Width(6),), 3)
    net[0].register_forward_hook(lambda layer, args, out: out + (out @ out.T) * (len(out[0]) == 3))
    return net


def hooked_before():
    net = MLP(5, (Width(6),), 3)
    net[2].register_forward_pre_hook(lambda layer, args: args[0] @ torch.eye(len(args[0][0])))
    return net


def forward_of_its_own():
    net = MLP(5, (Width(6),), 3)
    relu, eye = net[1], torch.eye(3)
    relu.forward = lambda x: x @ eye if len(x[0]) == 3 else x
    return net


class Squared(nn.Module):
    """A parametrization that multiplies."""

    def forward(self, weight):
        return weight @ weight


def parametrized():
    net = nn.Sequential(nn.Linear(5, 5), VariableLinear(5, Width(6)))
    nn.utils.parametrize.register_parametrization(net[0], "weight", Squared())
    return net


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (Branching, (5,)),
        (SharedByParents, (5,)),
        (Unregistered, (5,)),
        (hooked, (5,)),
        (hooked_before, (5,)),
        (forward_of_its_own, (5,)),
        (parametrized, (5,)),
        (lambda: nn.Sequential(VariableLinear(5, Width(6)), nn.Flatten(0), nn.Softmax(0)), (5,)),
        (
            lambda: nn.Sequential(
                VariableConv2d(1, Width(6), 1), nn.Flatten(0, 1), nn.Flatten(), nn.Linear(4, 3)
            ),
            (1, 2, 2),
        ),
    ],
)
def test_products_of_networks_that_others_made_are_those_at_each_width(make, shape):
    model, inputs = make(), torch.ones(2, *shape)
    expected = []
    for width in range(1, 7):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            extract(model, width).eval()(inputs[:1])
        expected.append(counter.get_total_flops() // 2)
    assert count_macs_by_width(model, range(1, 7), inputs) == expected
    assert [count_macs(model, width, inputs) for width in range(1, 7)] == expected


def test_a_hook_on_all_modules_takes_part_in_the_count_at_every_width():
    def hook(module, args, out):
        return out @ torch.ones(3, 3) if len(out[0]) == 3 else out

    handle = nn.modules.module.register_module_forward_hook(hook)
    try:
        found = count_macs_by_width(MLP(5, (Width(6),), 1), range(1, 7), torch.ones(1, 5))
    finally:
        handle.remove()
    assert found == [6 * width + 2 * 9 * (width == 3) for width in range(1, 7)]


def test_the_count_of_several_knobs_follows_the_dict():
    first, second = Width(4), WidthControl(3).axis(6)
    model = MLP(5, (first, second), 2)
    for asked, a, b in [
        ({first.control: 2}, 2, 6),
        ({second.control: 1}, 4, 2),
        ({first.control: 1, second.control: 2}, 1, 4),
        ({}, 4, 6),
    ]:
        expected = (5 * a + a) + (a * b + b) + (b * 2 + 2)
        assert count_parameters(model, asked) == expected
        assert sum(p.numel() for p in extract(model, asked).parameters()) == expected
        assert count_macs(model, asked, torch.ones(3, 5)) == 5 * a + a * b + b * 2


def test_the_counts_do_not_depend_on_where_the_knob_stands(net):
    with at_width(net, 2):
        assert count_parameters(net) == 4 * 6 + 6 + 6 * 6 + 6 + 6 * 3 + 3
        assert count_parameters(net, 1) == 4 + 1 + 1 + 1 + 3 + 3
        assert count_macs(net, None, torch.ones(1, 4)) == 4 * 6 + 6 * 6 + 6 * 3
        assert count_macs(net, 1, torch.ones(1, 4)) == 4 + 1 + 3


@pytest.mark.parametrize("count", [count_parameters, lambda *a: count_macs(*a, torch.ones(1, 4))])
@pytest.mark.parametrize(
    ("width", "error", "message"),
    [
        (7, ValueError, r"width must lie in 1\.\.6, got 7"),
        (0.5, TypeError, r"width must be an integer in 1\.\.6, got 0\.5"),
        (torch.tensor([2]), TypeError, "a submodel has one width"),
        ({WidthControl(6): 2}, ValueError, "width must name knobs of the model"),
    ],
)
def test_a_count_at_a_width_that_does_not_exist_is_refused(net, count, width, error, message):
    with pytest.raises(error, match=message):
        count(net, width)


@pytest.mark.parametrize("batch", [1, 7])
def test_multiply_accumulates_of_dense_layers_are_inputs_times_outputs_per_sample(net, batch):
    for w in range(1, 7):
        assert count_macs(net, w, torch.randn(batch, 4)) == 4 * w + w * w + w * 3


def test_those_of_convolutions_are_kernel_times_channels_times_pixels():
    model = conv_net(WidthControl(3).axis(6))
    for step in (1, 2, 3):
        w = 2 * step
        expected = 4 * 4 * (3 * w * 3 * 5 + w * 3 * 3 + w * 2 * 2 * 2)
        assert count_macs(model, step, torch.randn(2, 3, 8, 8)) == expected
    plain = nn.Conv2d(3, 4, 3, bias=False)
    assert count_macs(plain, None, torch.randn(1, 3, 8, 8)) == 6 * 6 * 3 * 4 * 3 * 3


def test_those_of_attention_and_recurrence_are_counted_though_torch_fuses_them():
    x = torch.randn(2, 5, 8)
    block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    attention = 8 * 24 + 8 * 8 + 2 * 5 * 8  # projections in and out; scores and mixing
    assert count_macs(block, None, x) == 5 * (attention + 2 * 8 * 16)
    assert count_macs(nn.LSTM(8, 6, batch_first=True), None, x) == 5 * 4 * 6 * (8 + 6)
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch.backends.mkldnn.enabled
    assert torch.backends.cudnn.enabled


class Noisy(nn.Module):
    """A network that notes how it runs, draws numbers and counts its calls in a buffer."""

    def __init__(self, seen):
        super().__init__()
        self.net = MLP(4, (Width(6),), 3)
        self.frozen = nn.BatchNorm1d(3).eval()
        self.register_buffer("calls", torch.zeros(()))
        self.note = seen.add

    def forward(self, x):
        self.note((self.training, self.frozen.training, torch.is_grad_enabled()))
        self.calls += 1
        return self.frozen(self.net(x + torch.rand_like(x)))


def test_a_slow_forward_is_timed_three_times_once_the_seconds_are_over(net):
    calls, forward = [], net.forward
    net.forward = lambda x: calls.append(1) or forward(x)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(costs, "extract", lambda *_: net)
        found = measure_latency(net, 2, torch.ones(5, 4), repeats=20, seconds=0)
        assert len(calls) == 1 + 3
        assert found.low_ms <= found.median_ms <= found.high_ms
        measure_latency(net, 2, torch.ones(5, 4), repeats=20, seconds=600)
    assert len(calls) == 4 + 5 + 20


@pytest.mark.parametrize("cost", [count_macs, measure_latency])
def test_a_cost_leaves_model_random_state_and_gradients_as_they_were(cost):
    seen = set()
    model = Noisy(seen)
    state, before = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    cost(model, 2, torch.ones(3, 4))
    assert seen == {(False, False, False)}
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert (model.training, model.net.training, model.frozen.training) == (True, True, False)
    assert torch.is_grad_enabled()


def test_latency_is_a_median_between_its_quartiles_and_says_what_ran(net):
    threads = torch.get_num_threads()
    found = measure_latency(net, 3, torch.randn(5, 4), repeats=9, threads=threads + 1)
    assert 0 < found.low_ms <= found.median_ms <= found.high_ms
    assert (found.threads, found.batch, found.device) == (threads + 1, 5, "cpu")
    assert torch.get_num_threads() == threads
    assert measure_latency(net, 3, torch.randn(5, 4), repeats=1).threads == threads


def test_what_is_timed_is_the_whole_batch_in_the_extracted_network_after_a_warm_up(net):
    shapes = []
    net.register_forward_hook(lambda module, args, _: shapes.append((type(module), *args[0].shape)))
    net[0].register_forward_hook(lambda module, *_: shapes.append(module.out_features))
    measure_latency(net, 2, torch.ones(5, 4), repeats=4)
    assert set(shapes) == {2, (nn.Sequential, 5, 4)}
    assert len(shapes) > 2 * 4


def test_a_forward_that_fails_gives_the_threads_back(net):
    threads = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        measure_latency(net, 2, torch.ones(1, 9), threads=threads + 1)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("times", "threads", "expected"),
    [
        ((0.42, 0.4, 0.468), 2, "0.42 ms (0.40 to 0.47), batch 1, 2 threads, cpu"),
        ((12.3, 12, 14.25), 1, "12.30 ms (12.00 to 14.25), batch 1, 1 thread, cpu"),
        ((0.00421, 0.004, 0.005), 1, "0.0042 ms (0.0040 to 0.0050), batch 1, 1 thread, cpu"),
    ],
)
def test_a_latency_reads_as_a_sentence(times, threads, expected):
    assert repr(Latency(*times, threads=threads, batch=1, device="cpu")) == expected


@pytest.mark.parametrize(
    ("inputs", "options", "error", "message"),
    [
        ([1.0], {}, TypeError, r"inputs must be a tensor of shape \(batch, \.\.\.\), got \[1\.0\]"),
        (torch.ones(0, 4), {}, ValueError, r"inputs must hold at least one .*, got shape \(0, 4\)"),
        (torch.tensor(1.0), {}, ValueError, r"inputs must hold at least one .*, got shape \(\)"),
        (torch.ones(1, 4), {"repeats": 0}, ValueError, "repeats must be at least 1, got 0"),
        (torch.ones(1, 4), {"threads": 0}, ValueError, r"threads must lie in 1\.\.1024, got 0; N"),
        (torch.ones(1, 4), {"threads": 1.5}, TypeError, r"threads must be an integer .* got 1\.5"),
    ],
)
def test_what_cannot_be_timed_is_refused(net, inputs, options, error, message):
    with pytest.raises(error, match=message):
        measure_latency(net, 2, inputs, **options)
    if not options:
        with pytest.raises(error, match=message):
            count_macs(net, 2, inputs)


def test_a_network_that_writes_into_its_inputs_is_timed_on_the_callers_values():
    seen, x = [], torch.randn(4, 3)
    before = x.clone()
    net = nn.Sequential(nn.Mish(inplace=True), MLP(3, (Width(4),), 2))
    net.register_forward_pre_hook(lambda _, args: seen.append(torch.equal(args[0], before)))
    measure_latency(net, 2, x, repeats=3)
    assert torch.equal(x, before)
    assert set(seen) == {True}


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")
@pytest.mark.parametrize("container", CONTAINERS)
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_counts_of_networks_as_people_write_them_are_those_of_their_cuts(container, data):
    model, x = data.draw(networks(container))
    given, widths = x.clone(), range(1, STEPS + 1)
    try:
        cuts = [extract(model, width) for width in widths]
    except (TypeError, ValueError) as refusal:
        with pytest.raises(type(refusal), match=re.escape(str(refusal))):
            count_macs_by_width(model, widths, given)
        return
    expected = [count_macs(cut, None, x.clone()) for cut in cuts]
    assert count_macs_by_width(model, widths, given) == expected
    assert torch.equal(given, x), "the caller's inputs were changed"
    expected = [sum(parameter.numel() for parameter in cut.parameters()) for cut in cuts]
    assert [count_parameters(model, width) for width in widths] == expected
