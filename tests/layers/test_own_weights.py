"""Own weights of narrow widths: sliced, masked, side by side and extracted are one thing."""

import copy
import pickle

import pytest
import torch
from torch import nn

from tests.own import own_linear, stir
from vsnn_lab import (
    MLP,
    Autoencoder,
    ConvNet,
    Width,
    WidthControl,
    at_width,
    condition,
    count_parameters,
    extract,
)
from vsnn_lab.layers import side_by_side
from vsnn_lab.layers.level_weights import LevelWeights
from vsnn_lab.layers.octaves import is_narrow, octave_of, octave_tops
from vsnn_lab.layers.side_by_side import at_several_positions
from vsnn_lab.widths import width_controls


def dense(steps: int = 20) -> MLP:
    hidden = WidthControl(steps)
    # Two units a step, then one: the knob counts positions, not units.
    axes = hidden.axis(2 * steps), hidden.axis(steps)
    return stir(MLP(7, axes, 3, nn.Tanh, conditioned=True)).double()


def large() -> MLP:
    """Return a network whose widest octaves have products in place of large weights."""
    hidden = WidthControl(20)
    net = stir(MLP(700, (hidden.axis(200), hidden.axis(20)), 3, nn.Tanh, conditioned=True), 0.1)
    products = [net[0].own_weights.is_product("weight", level) for level in range(6)]
    assert products == [True, True, False, False, False, False]
    return net.double()


def reconstructing() -> Autoencoder:
    """Return a network whose layers of fixed size have products at every width."""
    net = stir(Autoencoder((300,), Width(20), (260,), nn.Tanh, conditioned=True), 0.1)
    for layer, products in ((net.encoder[1], True), (net.encoder[3], False)):
        levels = layer.own_weights.shapes["weight"]
        assert [layer.own_weights.is_product("weight", level) for level in levels] == [products] * 6
    return net.double()


def convolutional() -> ConvNet:
    channels = Width(20)
    return stir(ConvNet((2, 9, 6), (channels, channels), 3, nn.Tanh, conditioned=True)).double()


def inputs(net: nn.Module, rows: int) -> torch.Tensor:
    shape = getattr(net, "shape", (getattr(net[0], "in_features", 7),))
    return torch.randn(rows, *shape, dtype=torch.float64)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 8, 20, 32, 33, 64])
def test_octaves_cover_every_width_below_the_full_one_once(steps):
    tops = octave_tops(steps)
    found = [octave_of(position) for position in range(1, steps)]
    by_hand = [next(i for i, top in enumerate(tops) if p <= top) for p in range(1, steps)]
    assert found == by_hand
    assert set(found) == set(range(len(tops)))


def test_octaves_are_narrow_up_to_a_quarter_or_of_few_positions_to_half():
    narrow = {(1, 2), (1, 3), (16, 32), (8, 33), (64, 256), (1, 4)}
    wide = {(2, 3), (17, 32), (31, 32), (9, 33), (16, 33), (65, 256), (128, 256)}
    assert all(is_narrow(*each) for each in narrow)
    assert not any(is_narrow(*each) for each in wide)


def test_compiled_code_counts_octaves_by_comparisons(monkeypatch):
    octaves = [octave_of(position) for position in range(1, 300)]
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert [octave_of(position) for position in range(1, 300)] == octaves


@pytest.mark.parametrize("build", [dense, large, convolutional])
@pytest.mark.parametrize("width", range(1, 21))
def test_sliced_masked_and_extracted_agree_and_what_an_octave_adds_folds_away(build, width):
    net = build()
    x = inputs(net, 5)
    cut = extract(net, width)
    with at_width(net, width):
        torch.testing.assert_close(net(x), cut(x), rtol=1e-10, atol=1e-12)
    mixed = torch.tensor([width, 1, 20, width, 6])
    with at_width(net, mixed):
        masked = net(x)
    expected = torch.cat([extract(net, int(w))(x[i : i + 1]) for i, w in enumerate(mixed)])
    torch.testing.assert_close(masked, expected, rtol=1e-10, atol=1e-12)
    assert not any(type(module).__module__.startswith("vsnn_lab") for module in cut.modules())
    assert count_parameters(net, width) == sum(p.numel() for p in cut.parameters())
    plain = ConvNet((2, 9, 6), (width,) * 2, 3)
    if build is not convolutional:
        plain = MLP(cut[0].in_features, (cut[0].out_features, width), 3)
    assert {n: p.shape for n, p in cut.named_parameters()} == {
        n: p.shape for n, p in plain.named_parameters()
    }


@pytest.fixture(params=["one matrix", "some", "each alone"])
def matrices(request, monkeypatch):
    """Let levels stand in one matrix, in several, or in one each, of layers of a few units."""
    least = {"one matrix": 2**40, "some": 6 * 800, "each alone": 0}[request.param]
    monkeypatch.setattr(side_by_side, "_WORTH_A_CALL", least)


def test_the_widest_levels_have_a_matrix_of_their_own_where_there_are_many_rows():
    shapes = ((64, 64), (32, 32), (16, 16), (8, 8))
    assert side_by_side._groups(shapes, 200) == [shapes]
    assert side_by_side._groups(shapes, 400) == [shapes[:1], shapes[1:]]
    assert side_by_side._groups(shapes, 4_000) == [shapes[:1], shapes[1:2], shapes[2:]]
    zeros = 64 * 8 * 2
    assert 2**21 % zeros == 0
    rows = 2**21 // zeros
    for count, groups in ((rows, 2), (rows - 1, 1)):
        assert len(side_by_side._groups(((64, 64), (8, 8)), count)) == groups


def test_several_widths_side_by_side_are_what_each_is_alone(matrices):
    net = dense(40)
    x = inputs(net, 6)
    (knob,) = width_controls(net)
    for positions in ([1, 2, 3, 5], [1, 2, 4, 8], [1, 2, 3, 7]):
        with at_several_positions(knob, positions):
            found = net(x)
        assert found.shape == (6, 4, 3)
        for index, position in enumerate(positions):
            with at_width(net, position):
                torch.testing.assert_close(found[:, index], net(x), rtol=1e-10, atol=1e-12)
    assert knob.position == 40


def test_side_by_side_trains_what_each_width_would_train_alone(matrices):
    net = dense(40)
    x, positions = inputs(net, 6), [1, 2, 3, 7]
    with at_several_positions(*width_controls(net), positions):
        net(x).square().sum().backward()
    together = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    net.zero_grad()
    for position in positions:
        with at_width(net, position):
            net(x).square().sum().backward()
    for name, gradient in together.items():
        alone = dict(net.named_parameters())[name].grad
        torch.testing.assert_close(gradient, alone, rtol=1e-9, atol=1e-12, msg=name)
    # A narrow width is built on what all share, and does not pull at it.
    assert {name.split(".")[1] for name in together} == {"own_weights"}


@pytest.mark.parametrize("build", [dense, large, convolutional])
def test_widths_of_their_own_train_the_weights_that_one_width_for_all_would(build):
    net, widths = build(), [1, 3, 5, 4, 7, 19, 20]
    x = inputs(net, len(widths))
    with at_width(net, torch.tensor(widths)):
        net(x).square().sum().backward()
    masked = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    net.zero_grad()
    for row, width in zip(x, widths, strict=True):
        with at_width(net, width):
            net(row.unsqueeze(0)).square().sum().backward()
    # No width lies in the second octave below full width, which nothing is computed for.
    assert {name for name, _ in net.named_parameters() if "_1" not in name} == masked.keys()
    for name, gradient in masked.items():
        close = torch.testing.assert_close
        close(gradient, net.get_parameter(name).grad, rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize(
    "widths", [[1, 3, 4, 8, 8, 19], [19, 1, 8, 3, 8, 4], [20, 3, 20, 1, 19, 5]]
)
def test_samples_of_many_levels_share_a_call_where_a_layer_is_as_large_for_all(widths):
    net = reconstructing()
    x = torch.rand(len(widths), 300).double()
    with at_width(net, torch.tensor(widths)):
        found = net(x)
    found.square().sum().backward()
    masked = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    net.zero_grad()
    for row, output, width in zip(x.split(1), found, widths, strict=True):
        torch.testing.assert_close(extract(net, width)(row)[0], output, rtol=1e-10, atol=1e-12)
        with at_width(net, width):
            net(row).square().sum().backward()
    alone = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    assert alone.keys() == masked.keys()
    assert ("encoder.1.weight" in masked) == (20 in widths)
    for name, gradient in masked.items():
        close = torch.testing.assert_close
        close(gradient, alone[name], rtol=1e-9, atol=1e-12, msg=name)


def test_samples_at_widths_that_share_all_weights_do_so_beside_others():
    code = Width(20)
    net = stir(Autoencoder((300,), code, (260,), nn.Tanh), 0.1).double()
    condition(net, own_share=0.5)
    x = torch.rand(4, 300).double()
    with at_width(net, torch.tensor([1, 5, 12, 20])):
        found = net(x)
    rows = zip([1, 5, 12, 20], x.split(1), strict=True)
    expected = [extract(net, width)(row)[0] for width, row in rows]
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-10, atol=1e-12)


def test_a_level_adds_its_own_weights_at_their_pace():
    knob = WidthControl(8)
    layer = own_linear(3, knob.axis(8), pace=3.0).double()
    own = nn.init.ones_(layer.own_weights.weight_narrow)
    x = torch.randn(4, 3).double()
    with at_width(knob, 2):
        found = layer(x)
    weight = layer.weight[:2] + 3 * own[:6].view(2, 3)
    torch.testing.assert_close(found, x @ weight.T + layer.bias[:2])


def test_full_width_is_an_ordinary_layer_that_corrections_leave_alone():
    net = dense()
    plain = MLP(7, (40, 20), 3, nn.Tanh).double()
    plain.load_state_dict(
        {name: value for name, value in net.state_dict().items() if name in plain.state_dict()}
    )
    x = inputs(net, 4)
    assert torch.equal(net(x), plain(x))
    net(x).sum().backward()
    touched = {name.partition(".")[2] for name, p in net.named_parameters() if p.grad is not None}
    assert touched == {"weight", "bias"}


def test_a_product_is_set_to_what_comes_closest_to_a_weight():
    weights = LevelWeights(1, rank=3)
    like = torch.zeros(600, 600, dtype=torch.float64)
    weights.add("weight", {0: (300, 400), 1: (200, 400)}, like)
    assert {name: [*each.shape] for name, each in weights.named_parameters()} == {
        "weight_0_rows": [300, 3],
        "weight_0_columns": [3, 400],
        "weight_narrow": [80_000],
    }
    wanted = (torch.randn(300, 3) @ torch.randn(3, 400)).double()
    weights.set("weight", 0, wanted)
    torch.testing.assert_close(weights.of("weight", 0), wanted, rtol=1e-4, atol=1e-4)
    assert weights.is_product("weight", 0)
    square = LevelWeights(1, rank=3)
    square.add("weight", {0: (256, 256)}, like)  # as many weights as may be
    assert not square.is_product("weight", 0)
    weights.set("weight", 1, wanted[:200])
    assert torch.equal(weights.of("weight", 1), wanted[:200])


def test_making_products_leaves_the_random_state_alone(global_state_kept):
    first, second = (LevelWeights(1, rank=2) for _ in range(2))
    for each in (first, second):
        each.add("weight", {0: (300, 400)}, torch.zeros(300, 400))
    assert torch.equal(first.weight_0_columns, second.weight_0_columns)


def test_untrained_it_is_the_variable_layer_at_every_width():
    knob = WidthControl(12)
    torch.manual_seed(0)
    net = MLP(5, (knob.axis(12),), 2, conditioned=True)
    torch.manual_seed(0)
    other = MLP(5, (Width(12),), 2)
    x = torch.randn(3, 5)
    for width in range(1, 13):
        with at_width(net, width), at_width(other, width):
            torch.testing.assert_close(net(x), other(x))


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_has_a_knob_of_its_own_that_also_conditions_it(clone):
    net = dense()
    other = clone(net)
    x = inputs(net, 2)
    with at_width(net, 3):
        expected = net(x)
    with at_width(other, 3):
        torch.testing.assert_close(other(x), expected)
        assert width_controls(net)[0].position == 20


def test_what_cannot_be_conditioned_is_refused():
    with pytest.raises(TypeError, match=r"control must be a WidthControl, or None, got Width\(4\)"):
        own_linear(3, 4, Width(4))
    with pytest.raises(ValueError, match="pace must be above 0, got 0"):
        own_linear(3, Width(4), pace=0)
    with pytest.raises(ValueError, match="wide_pace must be above 0, got 0"):
        own_linear(3, Width(4), wide_pace=0)
    with pytest.raises(ValueError, match="rank must be at least 1, got 0"):
        own_linear(3, Width(4), rank=0)
    with pytest.raises(ValueError, match=r"model must have a variable linear layer, .* got none"):
        own_linear(3, 4)
    with pytest.raises(ValueError, match=r"conditioned must be False unless all .* one knob, got"):
        MLP(3, (Width(4), Width(4)), 2, conditioned=True)
    with pytest.raises(ValueError, match=r"conditioned must be False unless .* got \[\]"):
        MLP(3, (4,), 2, conditioned=True)
    with pytest.raises(ValueError, match="channels must name at least one convolution, got none"):
        ConvNet((1, 8, 8), (), 2)
    with pytest.raises(ValueError, match=r"shape must be \(channels, height, width\), got \(8,\)"):
        ConvNet((8,), (4,), 2)
    net = dense()
    (knob,) = width_controls(net)
    message = r"positions must lie in the octaves up to \[1, 2, 4\], one in each, got \[1, 3, 5\]"
    with pytest.raises(ValueError, match=message), at_several_positions(knob, [1, 3, 5]):
        net(inputs(net, 2))
    assert knob.position == 20


@pytest.mark.parametrize("steps", [2, 20, 64])
def test_with_own_weights_for_all_octaves_full_width_shares_with_none(steps, matrices):
    units = Width(steps)
    layers = [own_linear(*axes) for axes in ((7, units), (units, units), (units, 3))]
    net = stir(nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh(), layers[2])).double()
    x, tops = inputs(net, 6), octave_tops(steps)
    with torch.no_grad():
        full = nn.Sequential(*(each if isinstance(each, nn.Tanh) else plain(each) for each in net))
    torch.testing.assert_close(net(x), full(x), rtol=1e-12, atol=1e-12)
    with at_several_positions(units.control, tops):
        found = net(x)
    for index, width in enumerate(tops):
        with at_width(net, width):
            torch.testing.assert_close(found[:, index], net(x), rtol=1e-10, atol=1e-12)
            torch.testing.assert_close(net(x), extract(net, width)(x), rtol=1e-10, atol=1e-12)
    with at_width(net, torch.tensor([steps, 1, steps - 1, steps, 1, steps])):
        torch.testing.assert_close(net(x)[0], full(x)[0], rtol=1e-10, atol=1e-12)
    found.sum().backward()
    assert all(layer.weight.grad is None and layer.bias.grad is None for layer in layers)
    torch.testing.assert_close(extract(net, steps)(x), full(x), rtol=1e-12, atol=1e-12)


def plain(layer: nn.Linear) -> nn.Linear:
    """Copy weight and bias into a layer of torch's."""
    copied = nn.Linear(layer.in_features, layer.out_features, dtype=torch.float64)
    copied.weight.copy_(layer.weight)
    copied.bias.copy_(layer.bias)
    return copied


def test_a_share_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"own_share must lie in \[0, 1\], got 2"):
        own_linear(2, Width(2), own_share=2)


def test_a_width_is_found_also_where_it_only_conditions():
    knob = WidthControl(5)
    layer = stir(own_linear(3, 4, knob))
    x = torch.randn(6, 3)
    for position in (1, 2, 4, 5):
        with at_width(layer, position):
            torch.testing.assert_close(layer(x), extract(layer, position)(x))
    with at_width(layer, torch.tensor([1, 2, 3, 4, 5, 5])):
        found = layer(x)
    for row, position in enumerate([1, 2, 3, 4, 5, 5]):
        torch.testing.assert_close(found[row], extract(layer, position)(x[row]))
    assert repr(extract(layer, 2)) == repr(nn.Linear(3, 4))
