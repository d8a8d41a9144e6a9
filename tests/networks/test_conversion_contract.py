"""What `make_variable` is given, what it refuses, what it leaves as it was, and what it proves."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.networks.converted import Applied, check_widths, outputs
from vsnn_lab import MLP, Width, WidthControl, at_width, explain, extract, make_variable
from vsnn_lab.widths import width_controls


def plain(hidden=16):
    return nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Linear(hidden, 2))


class Pair(nn.Module):
    """Two inputs of different sizes."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.out = nn.Linear(4, 16), nn.Linear(6, 16), nn.Linear(16, 2)

    def forward(self, x, y, scale=1.0):
        return self.out((self.first(x) + self.second(y)).relu() * scale)


X, Y = torch.randn(3, 4), torch.randn(3, 6)


@pytest.mark.parametrize(
    "example",
    [(X, Y), [X, Y], (X, Y, 2.0), {"x": X, "y": Y}, {"y": Y, "x": X, "scale": torch.tensor(2.0)}],
)
def test_an_example_is_a_tuple_or_a_dict_of_what_the_model_takes(example):
    model = Pair()
    net = make_variable(model, example)
    assert torch.equal(net(X, Y), model(X, Y))
    assert isinstance(net.second.out_axis, Width)
    assert explain(net).proven


def test_an_example_is_neither_kept_nor_changed():
    class Writing(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 16), nn.Linear(16, 2)

        def forward(self, x):
            return self.second(self.first(x.mul_(2)))

    x = torch.ones(3, 4, requires_grad=True)
    given = x.detach().clone()
    net = make_variable(Writing(), given)
    assert torch.equal(given, torch.ones(3, 4))
    with at_width(net, 3):
        assert net(torch.ones(3, 4)).shape == (3, 2)
    assert make_variable(plain(), x) is not None
    assert x.grad is None


@pytest.mark.parametrize(
    ("model", "example", "error", "message"),
    [
        (plain(), 3, TypeError, "example must be a tensor, a tuple or a dict of arguments, got 3"),
        (plain(), "x", TypeError, "example must be a tensor, a tuple or a dict of arguments"),
        (
            plain(),
            Y,
            ValueError,
            r"model must run on the example, on sizes alone, got: .*\[3, 6\] X \[4, 16\]",
        ),
        (plain(), (X, X), ValueError, "model must run on the example.* positional argument"),
        (plain(), {"y": X}, ValueError, "model must run on the example.*'y'"),
        (plain(), (), ValueError, "model must run on the example.*'input'"),
        (Pair(), None, ValueError, r"example must be given for this network: .*takes x, y;"),
        (Pair(), X, ValueError, "model must run on the example.*'y'"),
        (plain(), [loop := [], loop.append(loop)][0], ValueError, "example must not hold itself"),
    ],
)
def test_an_example_that_the_model_does_not_take_is_refused(model, example, error, message):
    with pytest.raises(error, match=message):
        make_variable(model, example)


def test_a_network_that_no_example_fits_asks_for_one():
    model = nn.Sequential(nn.Conv2d(1, 16, 3), nn.Flatten(), nn.Linear(16 * 25 * 30, 2))
    with pytest.raises(
        ValueError, match=r"example must be given for this network; make_variable\("
    ):
        make_variable(model)
    net = make_variable(model, torch.randn(1, 1, 27, 32))
    assert net[2].in_axis.parts[0].size == 16 * 25 * 30


class Blocks(nn.Module):
    """Two branches of two parts, and a head."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"up": nn.Linear(4, 32), "down": nn.Linear(32, 24)}) for _ in range(2)
        )
        self.mlp, self.head = nn.Linear(24, 9), nn.Linear(9, 2)

    def forward(self, x):
        x = sum(block["down"](block["up"](x).relu()) for block in self.blocks)
        return self.head(self.mlp(x).relu())


def knobs_of(net):
    """Return the knob of what each layer gives, by its number."""
    numbers = {control: number for number, control in enumerate(width_controls(net))}
    return {
        name: numbers[layer.out_axis.control]
        for name, layer in net.named_modules()
        if isinstance(getattr(layer, "out_axis", None), Width)
    }


UPS, DOWNS = ["blocks.0.up", "blocks.1.up"], ["blocks.0.down", "blocks.1.down"]


def test_all_axes_are_on_one_knob_or_each_set_of_tied_ones_on_its_own():
    shared, apart = (knobs_of(make_variable(Blocks(), knobs=k)) for k in ("shared", "per_layer"))
    assert {*shared.values()} == {0}
    assert apart[DOWNS[0]] == apart[DOWNS[1]]
    assert len({*apart.values()}) == 4


def test_patterns_put_layers_on_knobs_of_their_own_and_the_rest_on_one():
    given = WidthControl(8)
    net = make_variable(Blocks(), knobs={"blocks.*.up": given, "mlp": 3, "blocks.*": None})
    controls = width_controls(net)
    found = knobs_of(net)
    assert {found[name] for name in UPS} == {controls.index(given)}
    assert controls[found["mlp"]].steps == 3
    assert controls[found[DOWNS[0]]].steps == 24
    assert len(controls) == 3
    rest = make_variable(Blocks(), knobs={UPS[0]: 4}, steps=None)
    found = knobs_of(rest)
    assert len({*found.values()}) == 2
    assert found[UPS[1]] == found["mlp"] == found[DOWNS[0]]


def test_the_first_pattern_that_fits_counts_and_a_knob_may_be_named_twice():
    knob = WidthControl(4, rounded=True)
    net = make_variable(Blocks(), knobs={"mlp": knob, "*.up": knob, "*": 8})
    found, controls = knobs_of(net), width_controls(net)
    assert found["mlp"] == found[UPS[0]] == found[UPS[1]] == controls.index(knob)
    assert controls[found[DOWNS[0]]].steps == 8
    with at_width(net, {knob: 1}):
        assert net(torch.randn(2, 4)).shape == (2, 2)


@pytest.mark.parametrize(
    ("knobs", "error", "message"),
    [
        ({"block.*": 4}, ValueError, r"knobs must name all layers .* got 'block\.\*'"),
        ({"head": 3}, ValueError, "knobs must name all layers that make an axis .* got 'head'"),
        ({"*": None, "mlp": 3}, ValueError, "which no name before has put on a knob, got 'mlp'"),
        ({"mlp": WidthControl(2)}, ValueError, "got max_width=9 and steps=2"),
        ({"mlp": 2}, ValueError, "got steps=2 and 9 units"),
        ({"mlp": 0}, ValueError, r"knobs\['mlp'\] must be at least 1, got 0"),
        ({"mlp": "8"}, TypeError, r"knobs\['mlp'\] must be an integer at least 1, got '8'"),
        ({3: 8}, TypeError, "knobs must have names of layers as keys, got 3"),
        ("two", ValueError, "knobs must be one of 'shared', 'per_layer', got 'two'"),
        (None, (TypeError, ValueError), "knobs must be one of 'shared', 'per_layer', got None"),
    ],
)
def test_bad_knobs_are_refused(knobs, error, message):
    with pytest.raises(error, match=message):
        make_variable(Blocks(), knobs=knobs)


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x):
        return self.layer(x) if x.sum() > 0 else x


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: make_variable("vgg"), TypeError, r"model must be a torch\.nn\.Module, got 'vgg'"),
        (lambda: make_variable(nn.Linear(2, 2)), ValueError, "axis between two layers"),
        (lambda: make_variable(MLP(2, (Width(3),), 2)), ValueError, "plain, got VariableLinear"),
        (
            lambda: make_variable(Branching(), torch.ones(2, 2)),
            ValueError,
            "model must run on the example, on sizes alone, got: .*data-dependent",
        ),
        (lambda: make_variable(plain(), steps=0), ValueError, "steps must be at least 1, got 0"),
        (lambda: make_variable(plain(), steps=1.0), TypeError, "steps must be an integer"),
        (lambda: make_variable(plain(), exclude="0"), TypeError, "sequence of module"),
        (
            lambda: make_variable(plain(), exclude=["head"]),
            ValueError,
            "exclude must name modules of the model, got 'head'",
        ),
        (lambda: make_variable(plain(), exclude=["0"]), ValueError, "can vary, got none"),
        (lambda: make_variable(plain(), strict="yes"), TypeError, "strict must be"),
        (lambda: make_variable(plain(), verify="no"), TypeError, "verify must be"),
    ],
)
def test_bad_arguments_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_strict_takes_what_is_understood_and_refuses_the_rest():
    make_variable(plain(), strict=True)
    mixed = nn.Sequential(nn.Linear(4, 6), nn.Softmax(-1), *plain(6)[2:], nn.Linear(2, 2))
    assert type(make_variable(mixed)[0]) is nn.Linear
    with pytest.raises(
        ValueError, match=r"with strict=True, got axes that stay.* softmax behind '0'"
    ):
        make_variable(mixed, strict=True)


def test_the_original_its_mode_and_the_random_state_stay_as_they_were():
    model = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 2))
    model[1].eval()
    before = copy.deepcopy(model.state_dict())
    attributes = [sorted(vars(module)) for module in model.modules()]
    torch.manual_seed(3)
    expected = torch.get_rng_state()
    net = make_variable(model)
    assert torch.equal(torch.get_rng_state(), expected)
    for each in (net, model):
        assert [m.training for m in each.modules()] == [True, True, False, True, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert [sorted(vars(module)) for module in model.modules()] == attributes
    assert not {p.data_ptr() for p in model.parameters()} & {p.data_ptr() for p in net.parameters()}
    assert all(p.grad is None for p in model.parameters())


def test_frozen_parameters_and_a_grad_mode_stay():
    model = plain()
    model[0].weight.requires_grad_(False)
    with torch.no_grad():
        net = make_variable(model)
        assert not torch.is_grad_enabled()
    assert [p.requires_grad for p in net.parameters()] == [False, True, True, True]
    assert [p.requires_grad for p in extract(net, 3).parameters()] == [False, True, True, True]


def test_a_network_that_needs_several_samples_in_training_is_taken():
    model = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.Linear(16, 2)).train()
    net = make_variable(model)
    assert net.training
    assert int(net[1].num_batches_tracked) == 0
    one = make_variable(model, torch.randn(1, 4))
    assert isinstance(one[1].axis, Width)
    assert explain(one).training == ""


class Auxiliary(nn.Module):
    """A second head in training alone, as GoogLeNet has."""

    def __init__(self, hidden=16):
        super().__init__()
        self.first, self.out = nn.Linear(4, hidden), nn.Linear(hidden, 2)
        self.middle, self.side = nn.Linear(hidden, hidden), nn.Linear(hidden, 2)

    def forward(self, x):
        x = self.first(x)
        y = self.out(self.middle(x).relu())
        return (y, self.side(x.relu())) if self.training else y


def test_a_head_that_only_training_has_varies_with_the_rest():
    net = make_variable(Auxiliary())
    assert net.side.in_axis.control is net.first.out_axis.control
    with at_width(net.train(), 5):
        found = net(X)
    cut = extract(net, 5)
    for one, other in zip(found, cut(X), strict=True):
        torch.testing.assert_close(one, other)


def test_what_only_training_mixes_stays():
    class Regularised(Auxiliary):
        def forward(self, x):
            x = self.first(x)
            if self.training:
                x = x.softmax(-1)
            return self.out(self.middle(x).relu())

    net = make_variable(Regularised())
    assert net.first.out_features == net.middle.in_axis == 16
    assert isinstance(net.middle.out_axis, Width)
    assert "softmax behind 'first'" in explain(net).rows[0].reason


MIXING = {
    "softmax behind 'first'": lambda m, h, x: h.softmax(-1),
    "flip behind 'first'": lambda m, h, x: h.flip(1),
    "matmul behind 'first'": lambda m, h, x: h @ torch.ones(16, 16),
    "cumsum behind 'first'": lambda m, h, x: h.cumsum(-1),
    "layer_norm behind 'first'": lambda m, h, x: F.layer_norm(h, h.shape[-1:]),
    "mean behind 'first'": lambda m, h, x: h - h.mean(-1, keepdim=True),
    "mul behind 'first'": lambda m, h, x: h * m.vector,
    "div behind 'first'": lambda m, h, x: h / h.shape[1],
    "'first.weight' is read": lambda m, h, x: h + m.first.weight.norm(),
    "'first.bias' is read": lambda m, h, x: h + m.first.bias.mean(),
    "mul behind 'first': other": lambda m, h, x: h * m.first.out_features**-0.5,
    "view behind 'first'": lambda m, h, x: h.view(-1, 4, 4).transpose(1, 2).reshape(-1, 16),
    "index behind 'first'": lambda m, h, x: h[:, torch.arange(15, -1, -1)],
}


@pytest.mark.parametrize("reason", MIXING)
def test_what_mixes_units_stays_with_its_reason_and_the_rest_varies(reason):
    def build():
        middle = Applied(MIXING[reason], nn.Linear(4, 16), nn.Linear(16, 16))
        middle.register_buffer("vector", torch.rand(16))
        return nn.Sequential(nn.Linear(6, 16), nn.Linear(16, 4), middle, nn.Linear(16, 3))

    model = build()
    net = make_variable(model, Y)
    assert net[2].first.out_features == 16
    assert not any(isinstance(value, Width) for value in [getattr(net[2].first, "out_axis", 0)])
    assert isinstance(net[0].out_axis, Width)
    (row,) = (row for row in explain(net).rows if row.name == "2.first")
    assert row.reason.startswith(reason.replace("'first", "'2.first"))
    with at_width(net, 5):
        found = net(Y)
    torch.testing.assert_close(extract(net, 5)(Y), found)


def test_a_scaling_by_a_size_of_its_own_is_that_of_the_whole_at_every_width():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.out = (
                nn.Linear(4, 16), nn.Linear(16, 32), nn.Linear(32, 2)
            )  # fmt: skip

        def forward(self, x):
            return self.out(self.second(self.first(x) / self.first.out_features**0.5))

    net = make_variable(Scaled())
    assert net.first.out_features == 16
    assert net.second.in_axis == 16
    with at_width(net, 4):
        hidden = F.linear(net.first(X) / 4, net.second.weight[:4], net.second.bias[:4])
        expected = F.linear(hidden, net.out.weight[:, :4], net.out.bias)
        torch.testing.assert_close(net(X), expected)


def test_a_view_with_numbers_in_the_code_fixes_what_it_takes_apart():
    class LeNet(nn.Module):
        """As PyTorch's tutorial writes it."""

        def __init__(self):
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(3, 16, 5), nn.Conv2d(16, 32, 5)
            self.pool, self.fc1, self.fc2 = nn.MaxPool2d(2), nn.Linear(800, 64), nn.Linear(64, 10)

        def forward(self, x):
            x = self.pool(F.relu(self.conv1(x)))
            x = self.pool(F.relu(self.conv2(x)))
            return self.fc2(F.relu(self.fc1(x.view(-1, 32 * 5 * 5))))

    net = make_variable(LeNet())
    assert net.conv2.out_axis == 32
    assert isinstance(net.conv1.out_axis, Width)
    assert isinstance(net.fc1.out_axis, Width)
    assert explain(net).rows[1].reason.startswith("view behind 'conv2'")


def test_transposed_rows_have_no_widths_of_their_own():
    class Transposed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.out = nn.Linear(4, 16), nn.Linear(3, 16), nn.Linear(16, 2)

        def forward(self, x):
            return self.out(self.second(self.first(x).T).relu())

    with pytest.raises(ValueError, match="numpy_T behind 'first'"):
        make_variable(Transposed(), torch.randn(3, 4))


TURNED = {
    "numpy_T": lambda h: h.T.T,
    "mT": lambda h: h.mT.mT,
    "matrix_H": lambda h: h.H.H,
    "adjoint": lambda h: h.adjoint().adjoint(),
    "real": lambda h: h.real,
}


@pytest.mark.parametrize("name", TURNED)
@pytest.mark.parametrize("example", [None, torch.ones(3, 4)])
def test_a_batch_of_vectors_is_no_matrix(name, example):
    layers = nn.Linear(4, 16), nn.Linear(16, 16), nn.Linear(16, 2)
    middle = Applied(lambda m, h, x: TURNED[name](h), *layers[:2])
    with pytest.raises(ValueError, match=f"{name} behind '0.first'"):
        make_variable(nn.Sequential(middle, layers[2]), example)


def test_matrices_of_a_sample_are_followed_when_they_are_turned():
    class Mixing(nn.Module):
        """One head of attention written by hand: queries and keys meet, values pass."""

        def __init__(self):
            super().__init__()
            self.query, self.key, self.value = (nn.Linear(4, 16) for _ in range(3))
            self.out = nn.Linear(16, 2)

        def forward(self, x):
            scores = self.query(x) @ self.key(x).mT
            return self.out(scores.softmax(-1) @ self.value(x))

    net = make_variable(Mixing(), torch.randn(3, 5, 4))
    assert isinstance(net.value.out_axis, Width)
    assert net.query.out_features == extract(net, 1).key.out_features == 16


BY_CHANCE = {
    "slice behind 'first'": lambda h: h[:, h.shape[1] // 2 :],
    "chunk behind 'first'": lambda h: torch.cat(h.chunk(3, 1)[::-1], 1),
    "mul behind 'first'": lambda h: h * (h.shape[1] > 4),
}


@pytest.mark.parametrize("reason", BY_CHANCE)
def test_what_looks_right_at_some_widths_alone_stays(reason):
    """Half of two parts that keep as many, the rest of a division, a size that is compared."""
    size = {"slice": 9, "chunk": 8, "mul": 16}[reason.partition(" ")[0]]
    units = size - size // 2 if reason.startswith("slice") else size
    between = BY_CHANCE[reason]
    net = Applied(lambda m, h, x: between(h), nn.Linear(6, size), nn.Linear(units, 3))
    with pytest.raises(ValueError, match=reason):
        make_variable(net, torch.randn(3, 6))


def test_joined_and_split_units_keep_a_prefix_of_each_part():
    class Joined(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.hidden, self.out = (
                nn.Linear(4, 16), nn.Linear(4, 32), nn.Linear(48, 32), nn.Linear(16, 2)
            )  # fmt: skip

        def forward(self, x):
            h = self.hidden(torch.cat([self.first(x), self.second(x).relu()], 1))
            value, gate = h.chunk(2, dim=1)
            return self.out(value * gate.sigmoid())

    net = make_variable(Joined())
    weight, bias = net.hidden.weight, net.hidden.bias
    for position in (1, 7, 16):
        a = F.linear(X, net.first.weight[:position], net.first.bias[:position])
        b = F.linear(X, net.second.weight[: 2 * position], net.second.bias[: 2 * position]).relu()
        columns = [*range(position), *range(16, 16 + 2 * position)]
        rows = [*range(position), *range(16, 16 + position)]
        h = F.linear(torch.cat([a, b], 1), weight[rows][:, columns], bias[rows])
        value, gate = h[:, :position], h[:, position:]
        expected = F.linear(value * gate.sigmoid(), net.out.weight[:, :position], net.out.bias)
        for found in (extract(net, position),):
            torch.testing.assert_close(found(X), expected)
        for width in (position, torch.full((3,), position)):
            with at_width(net, width):
                torch.testing.assert_close(net(X), expected)


def test_tied_weights_stay_tied_and_their_axes_one():
    def build(hidden):
        net = nn.Sequential(nn.Embedding(9, hidden), nn.LayerNorm(hidden), nn.Linear(hidden, 9))
        net[2].weight = net[0].weight
        return net

    net = check_widths(build, torch.tensor([[1, 2], [0, 8], [3, 3]]))
    assert net[2].weight is net[0].weight
    cut = extract(net, 5)
    assert cut[2].weight is cut[0].weight


def test_a_network_is_taken_out_of_what_torch_put_it_into():
    model = plain()
    averaged = torch.optim.swa_utils.AveragedModel(model)
    wrapped = [nn.DataParallel(model), torch.compile(model, backend="eager"), averaged]
    for each in wrapped:
        net = make_variable(each, X)
        assert type(net) is nn.Sequential
        assert [*net.state_dict()] == [*model.state_dict()]
        assert explain(net).rows[0].name == "0"


def test_random_numbers_of_a_networks_own_are_the_same_in_both():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 16), nn.Linear(16, 2)

        def forward(self, x):
            h = self.first(x)
            return self.second(h * torch.rand(len(x), 1))

    model = Noisy()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    net = make_variable(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert explain(net).proven


class Lying(nn.Module):
    """Does on tensors of sizes alone something else than on numbers.

    Args:
        change: What it does on numbers, given the layer and what that gives.
    """

    def __init__(self, change):
        super().__init__()
        self.layer, self.change = nn.Linear(4, 16), change

    def forward(self, x):
        h = self.layer(x)
        try:
            has_numbers = bool(x.isfinite().all())
        except RuntimeError:
            has_numbers = False
        return self.change(self.layer, h) if has_numbers else h


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda layer, h: h if type(layer) is nn.Linear else 2 * h,
            r"at full width what the model computes, got .* from '0\.1' first",
        ),
        (
            lambda layer, h: h / layer.out_features,
            r"at a width what its cut computes, got .* from '0\.1' first, by .* at 4 of 16;",
        ),
        (
            lambda layer, h: h.softmax(-1),
            r"for a sample at a width what its cut computes, got .* in row \d at \d+ of 16",
        ),
    ],
)
def test_a_network_that_was_misunderstood_is_found_by_the_proof(change, message):
    model = nn.Sequential(nn.Sequential(nn.Identity(), Lying(change)), nn.ReLU(), nn.Linear(16, 2))
    with pytest.raises(RuntimeError, match=message):
        make_variable(model, X)
    net = make_variable(model, X, verify=False)
    assert not explain(net).proven


def test_a_network_that_gives_something_else_each_time_is_found_by_the_proof():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            return x + self.calls

    model = nn.Sequential(nn.Linear(4, 16), Counting(), nn.Linear(16, 2))
    with pytest.raises(RuntimeError, match="for a sample at a width what its cut computes"):
        make_variable(model, X)
    assert model[1].calls == 0


def test_what_a_forward_keeps_or_counts_is_left_as_it_was():
    class Keeping(nn.Module):
        """Keeps a mask of the length that it last saw, in several ways."""

        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(6, 16), nn.Linear(16, 2)
            self.mask, self.masks, self.calls = None, {}, []
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, x):
            length = x.shape[1]
            if self.mask is None or len(self.mask) != length:
                self.mask = torch.tril(torch.ones(length, length))
                self.masks[length] = self.mask
            self.calls.append(length)
            self.seen += 1
            return self.second(self.masks[length] @ self.first(x).relu())

    model, x = Keeping(), torch.randn(2, 5, 6)
    net = make_variable(model, x)
    for each in (model, net):
        assert each.mask is None
        assert each.masks == {}
        assert each.calls == []
        assert float(each.seen) == 0
    assert torch.equal(net(x), model(x))
    with at_width(net, 5):
        torch.testing.assert_close(extract(net, 5)(x), net(x))


def test_the_proof_leaves_a_networks_counters_alone():
    class Remembering(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.Linear(16, 2))
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, x):
            if self.training:
                self.seen += len(x)
            return super().forward(x)

    model = Remembering()
    net = make_variable(model)
    assert float(net.seen) == float(model.seen) == 0
    net(X)
    assert (float(net.seen), float(model.seen)) == (3, 0)
    assert len(outputs(net, X)) == 1
