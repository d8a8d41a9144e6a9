"""What trains, measures and shows networks does so with any that holds a mask."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.masks import (
    STEPS,
    beside_layers_that_are_cut,
    by_hand,
    channels,
    channels_from_the_end,
    dense,
    knob,
    network,
)
from vsnn_lab import (
    Distilled,
    LogUniform,
    TriangularDropout,
    Uniform,
    WidthControl,
    count_macs,
    count_parameters,
    extract,
    fit,
    recalibrate,
    verify_extraction,
    width_sweep,
)
from vsnn_lab.explore import AutoencoderExplorer, ClassifierExplorer
from vsnn_lab.train.recipes import Step


def test_costs_are_those_of_the_network_that_can_be_cut_out():
    net, x = network(channels).float(), torch.randn(4, 6)
    data = x, torch.zeros(4, 2)
    sweep = width_sweep(net, F.mse_loss, data, progress=False)
    for width in range(1, STEPS + 1):
        cut = extract(net, width)
        assert sweep.cost("parameters", width) == sum(map(torch.numel, cut.parameters()))
        assert sweep.cost("macs", width) == count_macs(cut, None, x) == count_macs(net, width, x)
        expected = F.mse_loss(by_hand(net, x, width), data[1])
        torch.testing.assert_close(sweep.at(width), expected.item())
        assert verify_extraction(net, width, x) < 1e-6
    assert len(set(sweep.parameters.tolist())) == len(set(sweep.macs.tolist())) == 1
    beside = network(beside_layers_that_are_cut)
    assert count_parameters(beside, 1) < count_parameters(beside, STEPS)


def trained(recipe):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(6, 32), nn.Tanh(), TriangularDropout(WidthControl(8).axis(32)), nn.Linear(32, 2)
    )
    x = torch.randn(256, 6)
    y = torch.stack([x[:, 0].sin(), x[:, 1] * x[:, 2]], 1)
    fit(net, (x, y), F.mse_loss, epochs=6, batch_size=32, lr=1e-2, progress=False, **recipe)
    return net, x, y


RECIPES = [{}, {"sampler": Uniform()}, *({"recipe": name} for name in ("triangular", "sandwich"))]
RECIPES.append({"recipe": Distilled(LogUniform(), relative=True)})


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_fit_draws_widths_through_the_knob(recipe, monkeypatch):
    def draws(*_):
        raise AssertionError("a mask drew widths of its own")

    monkeypatch.setattr("vsnn_lab.layers.dropout.draw_widths", draws)
    net, x, y = trained(recipe)
    values = width_sweep(net, F.mse_loss, (x, y), [1, 8], progress=False).values
    nothing = F.mse_loss(torch.zeros_like(y), y).item()
    assert values[1] < values[0] < nothing


@pytest.mark.parametrize("recipe", [Distilled(), Distilled(LogUniform())])
def test_a_recipe_alone_has_the_full_width_as_its_teacher(recipe):
    net, x, y = network(dense).float().train(), torch.randn(16, 6), torch.randn(16, 2)
    expected, seen = F.mse_loss(by_hand(net, x, STEPS), y), []

    def loss(output, target):
        seen.append(F.mse_loss(output, target))
        return seen[-1]

    list(recipe.losses(Step(net, x, y, loss)))
    torch.testing.assert_close(seen[0], expected)


def test_a_training_is_resumed_and_told_from_that_of_another_width(tmp_path):
    folders = set()
    for control in (WidthControl(8), WidthControl(4), WidthControl(4)):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(6, 8), TriangularDropout(control.axis(8)), nn.Linear(8, 2))
        data = torch.randn(32, 6), torch.randn(32, 2)
        settings = {"epochs": 1, "progress": False, "checkpoint": tmp_path}
        folders.add(fit(net, data, F.mse_loss, **settings).folder)
    assert len(folders) == 2


def test_norms_are_measured_again_at_a_width():
    net, x = network(channels_from_the_end).float(), torch.randn(64, 6)
    recalibrate(net, [x], 2)
    masked = net[:3](x)
    masked[:, 3:] = 0
    expected = masked.mean((0, 2, 3))
    torch.testing.assert_close(net[3].running_mean, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.`:FutureWarning")
@pytest.mark.filterwarnings("ignore:# The axis name. batch will not be used:UserWarning")
def test_explorers_look_through_the_knob(tmp_path):
    images, labels = torch.rand(12, 1, 2, 3), torch.arange(12) % 2
    classifier = ClassifierExplorer(
        nn.Sequential(nn.Flatten(), *dense().children()), images, labels, folder=tmp_path
    )
    classifier.width = 2
    net = classifier.model
    expected = by_hand(net, images, 2).argmax(1).numpy()
    assert (classifier.predictions[1] == expected).all()
    assert classifier.save()
    autoencoder = nn.Sequential(
        nn.Flatten(), nn.Linear(6, 8), TriangularDropout(knob().axis(8)), nn.Linear(8, 6),
        nn.Sigmoid(), nn.Unflatten(1, (1, 2, 3)),
    ).eval()  # fmt: skip
    explorer = AutoencoderExplorer(autoencoder, images, folder=tmp_path)
    for width in (1, 3, STEPS):
        expected = F.mse_loss(by_hand(autoencoder, images, width), images)
        assert explorer.sweep.at(width) == pytest.approx(expected.item(), rel=1e-5)
    explorer.width = 2
    assert explorer.save().exists()
