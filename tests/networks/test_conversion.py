"""An ordinary network made variable: the same weights, and at every width the network cut there."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vsnn_lab import Width, at_width, count_macs, count_parameters, extract
from vsnn_lab.data._torchvision import models
from vsnn_lab.networks.conversion import make_variable
from vsnn_lab.networks.explanation import explain
from vsnn_lab.widths import width_controls


def lively(model: nn.Module) -> nn.Module:
    """Give batch norms statistics and scales that are not trivial."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return model.double().eval()


class Residual(nn.Module):
    """Sums, a gate, functional pooling and flattening, and a layer that is used twice."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 6, 3, padding=1)
        self.norm = nn.GroupNorm(3, 6)
        self.twice = nn.Conv2d(6, 6, 3, padding=1)
        self.gate = nn.Conv2d(6, 6, 1)
        self.wide = nn.Conv2d(6, 12, 1, groups=3)
        self.scale = nn.Parameter(torch.tensor(0.7))
        self.head = nn.Linear(48, 9)
        self.out = nn.Linear(9, 4)

    def forward(self, x):
        x = F.relu(self.norm(self.stem(x)))
        x = x + self.twice(self.twice(x).sigmoid())
        x = x * self.gate(x.mean([2, 3], keepdim=True)).sigmoid() * self.scale + 1
        x = F.max_pool2d(self.wide(x), 2)
        x = x.view(x.size(0), -1)
        return F.log_softmax(self.out(self.head(x).tanh()), dim=1)


NETWORKS = {
    "mlp": (
        lambda: nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 9), nn.Linear(9, 2)),
        (5,),
    ),
    "convolutional": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.SiLU(), nn.MaxPool2d(2), nn.Dropout2d(),
            nn.ConvTranspose2d(6, 3, 2), nn.Flatten(), nn.Linear(48, 8), nn.LayerNorm(8),
            nn.Linear(8, 2),
        ),
        (2, 8, 8),
    ),
    "residual": (Residual, (2, 4, 4)),
    "tokens": (
        lambda: nn.Sequential(nn.Embedding(9, 6), nn.RMSNorm(6), nn.Linear(6, 8), nn.Linear(8, 9)),
        (7,),
    ),
}  # fmt: skip


def case(name: str) -> tuple[nn.Module, torch.Tensor]:
    build, shape = NETWORKS[name]
    x = torch.randint(0, 9, (3, *shape)) if name == "tokens" else torch.randn(3, *shape).double()
    return lively(build()), x


def agree_at(net: nn.Module, position, x: torch.Tensor, rtol: float = 1e-10) -> None:
    """Check that sliced and extracted agree, and masked too where one knob allows it."""
    near = {"rtol": rtol, "atol": rtol / 100}
    cut = extract(net, position)
    with torch.no_grad():
        expected = cut(x)
        with at_width(net, position):
            torch.testing.assert_close(net(x), expected, **near)
        if isinstance(position, int):
            with at_width(net, torch.full((len(x),), position)):
                torch.testing.assert_close(net(x), expected, **near)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_converted_network_is_the_original_at_full_width_and_agrees_with_its_cuts(name):
    model, x = case(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    net = make_variable(model, x)
    assert torch.equal(net(x), model(x))
    assert list(net.state_dict()) == list(before)
    assert not width_controls(model)
    (control,) = width_controls(net)
    for position in range(1, control.steps + 1):
        agree_at(net, position, x)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_cut_is_the_network_built_by_hand_from_the_first_units():
    hand = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 6), nn.Linear(6, 2)).double()
    mlp, x = case("mlp")
    net = make_variable(mlp, steps=3)
    state = mlp.state_dict()
    hand.load_state_dict(
        {
            key: state[key][tuple(map(slice, value.shape))]
            for key, value in hand.state_dict().items()
        }
    )
    with at_width(net, 2):
        torch.testing.assert_close(net(x), hand(x), rtol=1e-12, atol=1e-12)


def vgg_by_hand(share):
    """Write VGG11 with batch norm at a share of its width, as one would without this package."""
    sizes = [
        size if size == "M" else int(size * share)
        for size in (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")
    ]
    hidden = int(4096 * share)
    return nn.Sequential(
        models.vgg.make_layers(sizes, batch_norm=True),
        nn.AdaptiveAvgPool2d(7), nn.Flatten(),
        nn.Linear(sizes[-2] * 49, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
        nn.Linear(hidden, 7),
    )  # fmt: skip


def resnet_by_hand(share):
    """Write ResNet18 at a share of its width."""
    first, *later = [int(size * share) for size in (64, 128, 256, 512)]
    stem = nn.Conv2d(3, first, 7, 2, 3, bias=False), nn.BatchNorm2d(first)
    blocks = [models.resnet.BasicBlock(first, first) for _ in range(2)]
    before = first
    for size in later:
        down = nn.Sequential(nn.Conv2d(before, size, 1, 2, bias=False), nn.BatchNorm2d(size))
        blocks += [models.resnet.BasicBlock(before, size, 2, down)]
        blocks += [models.resnet.BasicBlock(size, size)]
        before = size
    pools = nn.MaxPool2d(3, 2, 1), nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(
        *stem, nn.ReLU(), pools[0], *blocks, pools[1], nn.Flatten(), nn.Linear(before, 7)
    )


def macs(model: nn.Module, x: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        model(x)
    return counter.get_total_flops() // 2


@pytest.mark.parametrize(
    ("name", "by_hand"), [("vgg11_bn", vgg_by_hand), ("resnet18", resnet_by_hand)]
)
@torch.no_grad()
def test_torchvision_networks_agree_with_their_cuts_and_with_hand_written_ones(name, by_hand):
    model = lively(getattr(models, name)(num_classes=7))
    net = make_variable(model, verify=False)  # All of that is compared below.
    assert type(net) is type(model)
    (control,) = width_controls(net)
    assert control.steps == 64
    x = torch.randn(2, 3, 48, 48).double()
    assert torch.equal(net(x), model(x))
    for position in (1, 24):
        agree_at(net, position, x)
        cut, hand = extract(net, position), by_hand(position / 64).double().eval()
        tensors = zip(hand.state_dict().values(), net.state_dict().values(), strict=True)
        for kept, whole in tensors:
            # Pixels of a channel are neighbours, so a prefix of the flat features is one, too.
            kept.copy_(whole[tuple(slice(size) for size in kept.shape)])
        torch.testing.assert_close(cut(x), hand(x), rtol=1e-10, atol=1e-12)
        sizes = [sum(p.numel() for p in m.parameters()) for m in (cut, hand)]
        assert sizes[0] == sizes[1] == count_parameters(net, position)
        assert macs(cut, x[:1]) == macs(hand, x[:1]) == count_macs(net, position, x)
    for network in (net, model):
        network.float()
    x = x.float()
    assert torch.equal(net(x), model(x))
    agree_at(net, 24, x, rtol=1e-4)


def test_dropped_branches_keep_their_channels():
    block = models.efficientnet.MBConvConfig
    settings = [block(1, 3, 1, 16, 16, 1), block(6, 3, 2, 16, 24, 3)]
    model = lively(models.EfficientNet(settings, 0.2, stochastic_depth_prob=0.5, num_classes=3))
    x = torch.randn(1, 3, 32, 32).double()
    net = make_variable(model, x, verify=False)
    assert torch.equal(net(x), model(x))
    agree_at(net, 1, x)


def test_vgg19_weights_load_unchanged_into_its_variable_form():
    with torch.device("meta"):
        state = models.vgg19().state_dict()
        net = make_variable(models.vgg19())
    net.load_state_dict(state, strict=True, assign=True)
    assert sum(isinstance(v, Width) for m in net.modules() for v in vars(m).values()) == 36
    assert not explain(net).proven  # Sizes alone have no numbers to compare.


def test_one_knob_per_layer_turns_each_set_of_tied_axes_alone():
    model, x = case("residual")
    net = make_variable(model, x, knobs="per_layer")
    controls = width_controls(net)
    # The residual stream with the convolution that its groups tie to it, and the hidden layer.
    assert len(controls) == 2
    assert torch.equal(net(x), model(x))
    assert [control.steps for control in controls] == [32, 32]
    for positions in ((1, 3), (32, 1), (7, 9)):
        agree_at(net, dict(zip(controls, positions, strict=True)), x)


class Pooled(nn.Module):
    """Pooling over one dimension, as a module and as a function."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv1d(2, 6, 3), nn.Conv1d(6, 4, 3)
        self.pool, self.out = nn.MaxPool1d(2), nn.Linear(4, 3)

    def forward(self, x):
        x = self.second(self.pool(self.first(x)).relu())
        return self.out(F.avg_pool1d(x, 2).mean(2))


def test_pooling_over_one_dimension_keeps_the_channels():
    model, x = lively(Pooled()), torch.randn(3, 2, 14).double()
    net = make_variable(model)
    assert net.first.out_axis.control is net.second.out_axis.control
    assert torch.equal(net(x), model(x))
    for position in (1, 2):
        agree_at(net, position, x)


def test_residual_sums_tie_their_axes_and_the_input_stays_fixed():
    class FromInput(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 6)

        def forward(self, x):
            return x + self.second(self.first(x))

    net = make_variable(FromInput())
    assert net.first.in_axis == net.second.out_axis == 6
    assert net.first.out_axis is not None
    assert net.first.out_axis.control is net.second.in_axis.control


def chain(*sizes):
    """Return linear layers of these sizes, one after the other."""
    return nn.Sequential(*[nn.Linear(*pair) for pair in pairwise(sizes)])


@pytest.mark.parametrize(
    ("sizes", "steps", "expected"),
    [
        ((16, 32), None, (16, False)),
        ((48, 64), None, (16, False)),
        ((15, 30), None, (32, True)),
        ((6, 9), None, (32, True)),
        ((6, 9), 3, (3, False)),
        ((6, 9), 1, (1, False)),
        ((64,), 64, (64, False)),
    ],
)
def test_steps_are_given_or_the_divisor_where_that_is_a_slider_else_rounded(sizes, steps, expected):
    (control,) = width_controls(make_variable(chain(2, *sizes, 3), steps=steps))
    assert (control.steps, control.rounded) == expected


def test_rounded_positions_keep_the_share_of_units_rounded_up():
    model, x = case("mlp")
    net = make_variable(model)
    for position in (1, 11, 20, 32):
        first, second = -(-6 * position // 32), -(-9 * position // 32)
        hidden = F.linear(x, model[0].weight[:first], model[0].bias[:first]).relu()
        hidden = F.linear(hidden, model[2].weight[:second, :first], model[2].bias[:second])
        expected = F.linear(hidden, model[3].weight[:, :second], model[3].bias)
        with at_width(net, position):
            torch.testing.assert_close(net(x), expected)
        agree_at(net, position, x)


def test_steps_that_do_not_divide_a_size_are_refused():
    with pytest.raises(ValueError, match="got steps=4 and 6 units; leave it out for rounded"):
        make_variable(chain(5, 6, 9, 2), steps=4)


def test_an_excluded_module_and_what_feeds_it_keep_their_sizes():
    net = make_variable(chain(2, 4, 6, 8, 2), exclude=["3"])
    assert (net[1].in_axis.max_width, net[1].out_axis.max_width) == (4, 6)
    assert net[2].out_axis == 8
    assert type(net[3]) is nn.Linear


def test_what_is_behind_an_excluded_module_varies():
    nested = make_variable(nn.Sequential(chain(2, 4, 6, 2), *chain(2, 4, 1)), exclude=["0"])
    assert all(type(layer) is nn.Linear for layer in nested[0])
    assert isinstance(nested[1].out_axis, Width)
    images = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.LayerNorm([6, 4, 4]), nn.Conv2d(6, 8, 1), nn.ReLU()
    )
    net = make_variable(nn.Sequential(*images, nn.Conv2d(8, 2, 1)), torch.randn(2, 1, 6, 6))
    assert net[2].in_axis == 6
    agree_at(net, 5, torch.randn(3, 1, 6, 6), rtol=1e-4)
