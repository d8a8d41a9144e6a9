import subprocess
import sys

import pytest
import torch
from torch import nn

from vsnn_lab import (
    MLP,
    Autoencoder,
    VariableConv2d,
    VariableLinear,
    Width,
    WidthControl,
    at_width,
    count_parameters,
    extract,
)
from vsnn_lab.layers import VariableLayerNorm


def objects_of_ours(model: nn.Module) -> list[str]:
    """List everything in a model that comes from this package, hooks and attributes included."""
    found = []
    for name, module in model.named_modules():
        held = [module, *vars(module).values()]
        for value in vars(module).values():
            if isinstance(value, dict):
                held += value.values()
            elif isinstance(value, list | tuple):
                held += value
        found += [f"{name}: {v!r}" for v in held if type(v).__module__.startswith("vsnn_lab")]
    return found


class TwoBranches(nn.Module):
    """A user's module: it holds widths in attributes and containers, and shares a layer."""

    def __init__(self):
        super().__init__()
        self.width = WidthControl(4).axis(8)
        self.axes = [self.width, {"flat": self.width * 3}]
        self.first = VariableLinear(5, self.width)
        self.second = VariableLinear(self.width, self.width, bias=False)
        self.again = self.second
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.last = VariableLinear(self.width, 3)

    def forward(self, x):
        return self.last(self.again(self.second(self.first(x).tanh()).cos()) * self.scale)


def test_a_users_module_keeps_its_class_and_its_widths_become_ints():
    net = TwoBranches().eval()
    x = torch.randn(6, 5)
    for position in range(1, 5):
        cut = extract(net, position)
        assert type(cut) is TwoBranches
        assert cut.width == 2 * position
        assert cut.axes == [2 * position, {"flat": 6 * position}]
        assert cut.again is cut.second
        assert type(cut.second) is nn.Linear
        assert not objects_of_ours(cut)
        assert not cut.training
        with at_width(net, position):
            torch.testing.assert_close(cut(x), net(x))


@pytest.mark.parametrize("width", [1, 2, 7, 16])
def test_an_autoencoder_is_cut_to_the_hand_written_one(width):
    net = Autoencoder((1, 4, 4), Width(16), hidden=(12,))
    cut = extract(net, width)
    hand = nn.Sequential()
    hand.encoder = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, width))
    hand.decoder = nn.Sequential(
        nn.Linear(width, 12), nn.ReLU(), nn.Linear(12, 16), nn.Sigmoid(), nn.Unflatten(1, (1, 4, 4))
    )
    hand.load_state_dict(cut.state_dict())
    assert [type(m) for m in cut.modules()] == [type(m) for m in hand.modules()]
    assert repr(cut) == repr(hand)
    assert not objects_of_ours(cut)
    x = torch.rand(5, 1, 4, 4)
    with at_width(net, width):
        torch.testing.assert_close(hand(x), net(x))


def test_the_cut_owns_its_memory_and_leaves_the_model_and_torchs_random_state_alone():
    width = Width(8)
    net = MLP(6, (width, width), 3)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    cut = extract(net, 3)
    assert torch.equal(torch.get_rng_state(), state)
    for parameter in cut.parameters():
        assert parameter.is_contiguous()
        assert parameter.untyped_storage().nbytes() == parameter.numel() * 4
        with torch.no_grad():
            parameter.fill_(7)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_mode_dtype_frozen_parameters_and_a_missing_bias_are_kept():
    net = nn.Sequential(VariableLinear(3, Width(4), bias=False)).double().eval()
    net[0].weight.requires_grad_(False)
    cut = extract(net, 2)
    assert cut[0].bias is None
    assert cut[0].weight.dtype == torch.float64
    assert not cut[0].weight.requires_grad
    assert not cut.training
    assert not cut[0].training


def test_several_knobs_are_cut_by_a_dict_and_the_others_stay_full():
    first, second = Width(4), Width(6)
    cut = extract(MLP(3, (first, second), 2), {first.control: 1})
    assert [(m.in_features, m.out_features) for m in cut[::2]] == [(3, 1), (1, 6), (6, 2)]


def test_the_cut_is_at_its_width_also_when_made_inside_at_width():
    net = MLP(3, (Width(4),), 2)
    with at_width(net, 1):
        assert extract(net, 3)[0].out_features == 3


def test_a_part_that_was_compiled_is_cut_and_compiled_anew():
    width = Width(6)
    body = MLP(4, (width,), 5)
    net = nn.Sequential(torch.compile(body, backend="eager"), nn.Tanh(), nn.Linear(5, 2))
    x = torch.randn(3, 4)
    net(x)
    for position in (2, 6):
        cut = extract(net, position)
        hidden = (x @ body[0].weight[:position].T + body[0].bias[:position]).relu()
        hidden = (hidden @ body[2].weight[:, :position].T + body[2].bias).tanh()
        torch.testing.assert_close(cut(x), net[2](hidden))


def test_a_plain_network_is_copied():
    net = nn.Sequential(nn.Linear(2, 3))
    cut = extract(net, 1)
    assert cut[0] is not net[0]
    assert torch.equal(cut[0].weight, net[0].weight)


def test_the_cut_runs_where_the_package_cannot_be_imported(tmp_path):
    cut = extract(MLP(6, (Width(8),), 3), 5)
    torch.save(cut, tmp_path / "cut.pt")
    script = (
        "import sys; sys.modules['vsnn_lab'] = None\n"
        "import torch\n"
        f"net = torch.load({str(tmp_path / 'cut.pt')!r}, weights_only=False)\n"
        "print(list(net(torch.ones(1, 6)).shape), net[0].out_features)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True
    )
    assert done.stdout.split("\n")[0] == "[1, 3] 5", done.stderr


@pytest.mark.parametrize(
    ("width", "error", "message"),
    [
        (0, ValueError, r"width must lie in 1\.\.4, got 0"),
        (5, ValueError, r"width must lie in 1\.\.4, got 5"),
        (2.0, TypeError, r"width must be an integer in 1\.\.4, got 2\.0"),
        (torch.tensor([1, 2]), TypeError, r"got a tensor of shape \(2,\); a submodel has one"),
    ],
)
def test_a_bad_width_is_refused(width, error, message):
    with pytest.raises(error, match=message):
        extract(MLP(3, (Width(4),), 2), width)


def test_a_class_built_on_one_of_ours_is_refused():
    class Twice(VariableLinear):
        def forward(self, x):
            return 2 * super().forward(x)

    with pytest.raises(TypeError, match="Twice must not inherit from VariableLinear to be extr"):
        extract(nn.Sequential(Twice(2, Width(3))), 1)


class ScaledLinear(VariableLinear):
    """A layer with a scale for each output, folded into its submodels."""

    plain_class = nn.Linear
    own_attributes = (*VariableLinear.own_attributes, "scale")

    def __init__(self, in_features, out_features):
        super().__init__(in_features, out_features)
        self.scale = nn.Parameter(torch.rand(self.weight.shape[0]))

    def forward(self, input):
        y = super().forward(input)
        return self.scale[: y.shape[-1]] * y

    def cut(self, positions):
        parts = super().cut(positions)
        scale = self.scale.detach()[: len(parts["weight"])]
        return {"weight": scale[:, None] * parts["weight"], "bias": scale * parts["bias"]}


class CenteredConv(VariableConv2d):
    """A convolution whose kernels have mean 0, and a buffer."""

    plain_class = nn.Conv2d
    own_attributes = (*VariableConv2d.own_attributes, "seen")

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, input):
        weight, bias = self.kept_parameters()
        weight = weight - weight.mean((2, 3), keepdim=True)
        return self.compute(input[:, : weight.shape[1]], weight, bias)

    def cut(self, positions):
        parts = super().cut(positions)
        weight = parts["weight"]
        return parts | {"weight": weight - weight.mean((2, 3), keepdim=True)}


class DoubledNorm(VariableLayerNorm):
    """A norm that nothing is added to but a factor."""

    plain_class = nn.LayerNorm

    def forward(self, input):
        return 2 * super().forward(input)

    def cut(self, positions):
        return {name: 2 * part for name, part in super().cut(positions).items()}


def of_scaled():
    width = Width(6)
    return nn.Sequential(ScaledLinear(4, width), nn.Tanh(), ScaledLinear(width, 2)), (4,)


def of_centered():
    width = Width(6)
    return nn.Sequential(CenteredConv(2, width, 3), nn.ReLU(), CenteredConv(width, 2, 1)), (2, 4, 4)


def of_doubled():
    width = Width(6)
    net = VariableLinear(4, width), DoubledNorm(width), nn.Tanh(), VariableLinear(width, 2)
    return nn.Sequential(*net), (4,)


@pytest.mark.parametrize("build", [of_scaled, of_centered, of_doubled])
def test_a_class_of_ones_own_that_names_its_plain_class_is_cut_by_its_own_fold(build):
    net, shape = build()
    x = torch.randn(3, *shape)
    for position in (1, 4, 6):
        with at_width(net, position):
            expected = net(x)
        cut = extract(net, position)
        torch.testing.assert_close(cut(x), expected)
        assert not objects_of_ours(cut)
        assert {type(module).__module__.partition(".")[0] for module in cut} == {"torch"}
        assert count_parameters(net, position) == sum(p.numel() for p in cut.parameters())
        assert not [*cut.buffers()]


def test_a_class_must_name_its_plain_class_itself_and_rightly():
    class Further(ScaledLinear):
        pass

    class OfAnother(VariableLinear):
        plain_class = nn.Conv2d

    class Forgetful(ScaledLinear):
        plain_class = nn.Linear
        own_attributes = VariableLinear.own_attributes

    for kind, message in [
        (Further, "Further must not inherit from VariableLinear to be extracted.*name it in the"),
        (OfAnother, "plain_class of OfAnother must be a torch layer that it derives from"),
        (Forgetful, "own_attributes of Forgetful must name what Linear does not have, scale"),
    ]:
        with pytest.raises(TypeError, match=message):
            extract(nn.Sequential(kind(2, Width(3))), 1)
