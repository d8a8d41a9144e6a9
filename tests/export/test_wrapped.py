"""Networks that torch put into another are saved, loaded, cut and counted as what is inside."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vsnn_lab import (
    MLP,
    Autoencoder,
    Width,
    at_width,
    count_parameters,
    extract,
    load_weights,
    make_variable,
    save_weights,
)


def averaged(net):
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    average.update_parameters(net)
    return average


def compiled(net):
    return torch.compile(net, backend="eager")


def compiled_average(net):
    return compiled(averaged(net))


WRAPPERS = [compiled, nn.DataParallel, averaged, compiled_average]
each_wrapper = pytest.mark.parametrize("wrap", WRAPPERS, ids=lambda wrap: wrap.__name__)


def mlp():
    width = Width(8)
    return MLP(4, (width, width), 3)


def autoencoder():
    return Autoencoder((1, 2, 2), Width(6), hidden=(8,))


def converted():
    return make_variable(
        nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)), steps=8
    ).eval()


BUILDS = [mlp, autoencoder, converted]
each_build = pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.__name__)


def same(first, second):
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@each_wrapper
@each_build
def test_a_file_has_the_names_of_the_inner_network(wrap, build, tmp_path):
    net = build()
    header = load_weights(build(), save_weights(wrap(net), tmp_path / "net.safetensors"))
    same(load_file(tmp_path / "net.safetensors"), net.state_dict())
    save_weights(net, tmp_path / "plain.safetensors")
    assert header == load_weights(build(), tmp_path / "plain.safetensors")


@each_wrapper
@each_build
def test_a_width_of_it_is_that_of_the_inner_network(wrap, build, tmp_path):
    net = build()
    wrapped = wrap(net)
    cut = extract(net, 3)
    found = extract(wrapped, 3)
    assert repr(found) == repr(cut)
    same(found.state_dict(), cut.state_dict())
    save_weights(wrapped, tmp_path / "cut.safetensors", width=3)
    same(load_file(tmp_path / "cut.safetensors"), cut.state_dict())
    assert count_parameters(wrapped, 3) == sum(p.numel() for p in cut.parameters())
    x = torch.randn(5, *((1, 2, 2) if build is autoencoder else (4,)))
    with at_width(wrapped, 3):
        torch.testing.assert_close(wrapped(x), cut(x))


@each_wrapper
@each_build
def test_a_file_loads_into_it(wrap, build, tmp_path):
    net, wrapped = build(), wrap(build())
    save_weights(net, tmp_path / "net.safetensors")
    load_weights(wrapped, tmp_path / "net.safetensors")
    same(extract(wrapped, 3).state_dict(), extract(net, 3).state_dict())


@each_wrapper
def test_a_network_within_is_converted(wrap):
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    net, x = make_variable(wrap(model), steps=8), torch.randn(3, 4)
    assert [*net.state_dict()] == [*model.state_dict()]
    torch.testing.assert_close(net(x), model(x))
    hidden = (x @ model[0].weight[:3].T + model[0].bias[:3]).relu()
    with at_width(net, 3):
        torch.testing.assert_close(net(x), hidden @ model[2].weight[:, :3].T + model[2].bias)


def test_an_average_has_the_averaged_weights():
    net = mlp()
    average = averaged(net)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(1)
    average.update_parameters(net)
    expected = net[0].weight - 0.9
    torch.testing.assert_close(extract(average, 3)[0].weight, expected[:3])
