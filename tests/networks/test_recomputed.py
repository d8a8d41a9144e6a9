"""Pruned, normed and parametrized weights: at each width, the first units of what comes out."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from tests.own import own_linear
from vsnn_lab import (
    VariableConv2d,
    VariableLinear,
    Width,
    at_width,
    count_parameters,
    explain,
    extract,
    load_weights,
    make_variable,
    save_weights,
)
from vsnn_lab.layers import VariableBatchNorm2d

# torch's old names for what has become a parametrization.
pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")


def pruned(layer):
    prune.l1_unstructured(layer, "weight", 0.4)
    prune.random_unstructured(layer, "bias", 0.5)


def pruned_twice(layer):
    prune.ln_structured(layer, "weight", 0.3, n=2, dim=0)
    prune.l1_unstructured(layer, "weight", 0.4)


def old_weight_norm(layer):
    torch.nn.utils.weight_norm(layer)


def old_weight_norm_of_columns(layer):
    torch.nn.utils.weight_norm(layer, dim=1)


def old_spectral_norm(layer):
    torch.nn.utils.spectral_norm(layer)


class Halved(nn.Module):
    def forward(self, weight):
        return weight.sigmoid() - 0.5


def parametrized(layer):
    parametrize.register_parametrization(layer, "weight", Halved())
    parametrize.register_parametrization(layer, "bias", Halved())


def weight_norm(layer):
    parametrizations.weight_norm(layer)


def spectral_norm(layer):
    parametrizations.spectral_norm(layer)


HOOKED = [pruned, pruned_twice, old_weight_norm, old_weight_norm_of_columns, old_spectral_norm]
CHANGES = [*HOOKED, parametrized, weight_norm, spectral_norm]
each_change = pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)


def plain():
    return nn.Sequential(
        nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.Softplus(), nn.Linear(8, 2)
    )


def images():
    return nn.Sequential(
        nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.Flatten(),
        nn.Linear(16, 2),
    )  # fmt: skip


def by_hand(net, position, x):
    """Compute a width of a chain from first units of its effective weights, as they are now."""
    for module in net:
        if isinstance(module, nn.Linear | nn.Conv2d):
            fan_in = x.shape[1]
            weight, bias = module.weight, module.bias
            if module is not net[-1]:
                rows = len(weight) * position // 8
                weight, bias = weight[:rows], bias[:rows]
            if isinstance(module, nn.Linear):
                x = x @ weight[:, :fan_in].T + bias
            else:
                x = nn.functional.conv2d(x, weight[:, :fan_in], bias)
        elif isinstance(module, nn.BatchNorm2d):
            channels = x.shape[1]
            parts = (module.running_mean, module.running_var, module.weight, module.bias)
            x = nn.functional.batch_norm(x, *(part[:channels] for part in parts))
        else:
            x = module(x)
    return x


@each_change
@pytest.mark.parametrize("indices", [[0], [2], [0, 2, 4]])
def test_every_way_to_a_width_is_the_first_units_of_the_effective_weights(change, indices):
    net, x = make_variable(plain(), steps=8), torch.randn(5, 4)
    for index in indices:
        change(net[index])
    net(x)  # a step of what is iterated
    net.eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.no_grad():
        net(x)
        for position in (1, 3, 8):
            expected = by_hand(net, position, x)
            with at_width(net, position):
                torch.testing.assert_close(net(x), expected)
            with at_width(net, torch.full((5,), position)):
                torch.testing.assert_close(net(x), expected)
            cut = extract(net, position)
            torch.testing.assert_close(cut(x), expected)
            assert [type(module) for module in cut] == [type(module) for module in plain()]
            assert list(cut.state_dict()) == list(plain().state_dict())
            assert count_parameters(net, position) == sum(p.numel() for p in cut.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("change", HOOKED, ids=lambda change: change.__name__)
@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize(("build", "shape"), [(plain, (4,)), (images, (2, 4, 4))])
def test_a_network_that_torch_hooks_onto_is_converted(change, grad, build, shape):
    model, x = build(), torch.randn(3, *shape)
    with torch.set_grad_enabled(grad):
        change(model[0])
        change(model[-1])
        model(x)
        net = make_variable(model.eval(), x, steps=8 if build is plain else 4)
        torch.testing.assert_close(net(x), model(x))
        assert list(net.state_dict()) == list(model.state_dict())
        steps = 8 if build is plain else 4
        for position in (1, steps - 1):
            with at_width(net, position):
                found = net(x)
            torch.testing.assert_close(found, by_hand(net, 8 * position // steps, x))
            torch.testing.assert_close(extract(net, position)(x), found)


@each_change
def test_gradients_reach_what_a_weight_is_computed_from(change):
    net = make_variable(plain(), steps=8).eval()
    change(net[2])
    x = torch.randn(50, 4)
    with at_width(net, 6):
        net(x).square().sum().backward()
    sources = [name for name, _ in net[2].named_parameters() if "weight" in name]
    found = {name: net[2].get_parameter(name).grad.clone() for name in sources}
    net.zero_grad()
    module = net[2]
    for hook in module._forward_pre_hooks.values():
        hook(module, None)
    by_hand(net, 6, x).square().sum().backward()
    for name, gradient in found.items():
        assert gradient.any()
        torch.testing.assert_close(gradient, net[2].get_parameter(name).grad)


@each_change
def test_a_cut_made_between_a_step_and_a_forward_has_the_weights_of_the_step(change):
    net = make_variable(plain(), steps=8)
    change(net[0])
    x = torch.randn(5, 4)
    net(x).sum().backward()
    torch.optim.SGD(net.parameters(), lr=0.3).step()
    cut = extract(net.eval(), 3)
    with torch.no_grad(), at_width(net, 3):
        torch.testing.assert_close(cut(x), net(x))


@each_change
def test_a_cut_in_training_mode_leaves_the_network_alone(change):
    net = make_variable(plain(), steps=8)
    change(net[0])
    before = copy.deepcopy(net.state_dict())
    cut = extract(net, 3)
    assert cut.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    net.eval()
    x = torch.randn(2, 4)
    with at_width(net, 3):
        torch.testing.assert_close(cut(x), net(x))


def test_weights_of_octaves_and_convolutions_are_pruned_and_cut():
    width = Width(16)
    net = nn.Sequential(
        VariableConv2d(1, width, 1), VariableBatchNorm2d(width), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), own_linear(width, 3),
    ).eval()  # fmt: skip
    own = net[-1].own_weights
    for parameter in own.parameters():
        nn.init.normal_(parameter)
    prune.l1_unstructured(net[0], "weight", 0.5)
    prune.l1_unstructured(net[1], "weight", 0.5)
    prune.l1_unstructured(net[-1], "weight", 0.5)
    prune.l1_unstructured(own, "weight_narrow", 0.5)
    prune.l1_unstructured(own, "weight_0", 0.5)
    x = torch.randn(2, 1, 2, 2)
    for position in (1, 3, 12, 16):
        with at_width(net, position):
            expected = net(x)
        cut = extract(net, position)
        torch.testing.assert_close(cut(x), expected)
        assert count_parameters(net, position) == sum(p.numel() for p in cut.parameters())


def test_frozen_sources_give_a_frozen_weight():
    net = make_variable(plain(), steps=8)
    pruned(net[0])
    net[0].weight_orig.requires_grad_(False)
    cut = extract(net, 3)
    assert [part.requires_grad for part in cut[0].parameters()] == [False, True]


@each_change
def test_the_file_of_a_width_loads_into_a_plain_cut(change, tmp_path):
    net = make_variable(plain(), steps=8)
    change(net[0])
    save_weights(net, tmp_path / "cut.safetensors", width=3)
    fresh, x = extract(make_variable(plain(), steps=8), 3), torch.randn(2, 4)
    load_weights(fresh, tmp_path / "cut.safetensors")
    torch.testing.assert_close(fresh(x), extract(net, 3)(x))


def from_a_hook(layer):
    raw = nn.Parameter(layer.weight.data)
    del layer.weight
    layer.raw = raw
    layer.register_forward_pre_hook(lambda module, _: setattr(module, "weight", module.raw * 2))
    layer(torch.ones(1, layer.in_features))


def deleted(layer):
    bias = layer.bias.detach()
    del layer.bias
    layer.bias = bias


@pytest.mark.parametrize(("change", "part"), [(from_a_hook, "weight"), (deleted, "bias")])
@pytest.mark.parametrize(
    "call",
    [
        lambda net, path: extract(net, 3),
        lambda net, path: count_parameters(net, 3),
        lambda net, path: save_weights(net, path / "cut.safetensors", width=3),
    ],
)
def test_what_an_unknown_hook_recomputes_is_refused_by_name(change, part, call, tmp_path):
    net = make_variable(plain(), steps=8)
    change(net[2])
    with pytest.raises(ValueError, match=f"{part} of the layer '2' must be a parameter to be cut"):
        call(net, tmp_path)


@pytest.mark.parametrize("change", [parametrized, weight_norm, spectral_norm])
def test_a_parametrized_layer_between_others_stays_and_the_way_out_is_said(change):
    model, x = nn.Sequential(*plain(), nn.Linear(2, 8), nn.Linear(8, 2)), torch.randn(3, 4)
    change(model[2])
    net = make_variable(model.eval(), x)
    assert net[0].out_features == net[4].in_features == 8
    assert isinstance(net[5].out_axis, Width)
    reason = "ParametrizedLinear has no variable form; parametrize it after make_variable"
    assert {row.name: row.reason for row in explain(net).rows}["2"] == reason
    with pytest.raises(ValueError, match="strict=True, got axes that stay because of linear"):
        make_variable(model, x, strict=True)


def test_hooks_that_leave_weights_alone_stay_in_a_converted_and_in_a_cut_network():
    model, seen = plain(), []
    model[0].register_forward_hook(lambda module, _, output: 2 * output)
    model[2].register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[1]))
    model[4].register_forward_hook(
        lambda module, args, kwargs, output: output + 1, with_kwargs=True
    )
    net, x = make_variable(model, steps=8), torch.randn(5, 4)
    seen.clear()  # Hooks run when the network does, to see what it does and to prove it.
    torch.testing.assert_close(net(x), model(x))
    with at_width(net, 3):
        expected = net(x)
    torch.testing.assert_close(extract(net, 3)(x), expected)
    hidden = 2 * (x @ model[0].weight[:3].T + model[0].bias[:3])
    hidden = hidden.relu() @ model[2].weight[:3, :3].T + model[2].bias[:3]
    last = nn.functional.softplus(hidden) @ model[4].weight[:, :3].T + model[4].bias + 1
    torch.testing.assert_close(expected, last)
    assert seen == [8, 8, 3, 3]


def test_a_layer_that_lost_its_hook_is_remembered_again():
    layer = VariableLinear(3, Width(4))
    pruned(layer)
    prune.remove(layer, "weight")
    prune.remove(layer, "bias")
    with torch.no_grad(), at_width(layer, 2):
        assert layer.kept_parameters() is layer.kept_parameters()


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_fixed_layer_of_a_variable_network_keeps_what_recomputes_its_weight(change):
    width = Width(6)
    net = nn.Sequential(VariableLinear(4, width), nn.Tanh(), VariableLinear(width, 5))
    net.append(nn.Linear(5, 2))
    change(net[-1])
    x = torch.randn(3, 4)
    net(x)
    net.eval()
    cut = extract(net, 2)
    with at_width(net, 2):
        torch.testing.assert_close(cut(x), net(x))
    assert cut[-1].state_dict().keys() == net[-1].state_dict().keys()
    assert count_parameters(net, 2) == sum(p.numel() for p in cut.parameters())
    cut(x).sum().backward()
    assert all(part.grad is not None for part in cut[-1].parameters())


def test_a_hook_that_is_a_method_of_the_network_is_that_of_its_copy():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(3, 8), nn.Linear(8, 2)
            self.first.register_forward_hook(self.count)
            self.calls = 0

        def count(self, module, args, output):
            self.calls += 1

        def forward(self, x):
            return self.second(self.first(x))

    model = Counting()
    net = make_variable(model)
    cut = extract(net, 3)
    cut(torch.randn(2, 3))
    cut(torch.randn(2, 3))
    net(torch.randn(2, 3))
    assert (model.calls, net.calls, cut.calls) == (0, 1, 2)
