"""What instruments show is what the model's own forward gives under at_width, width by width."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests import grammar
from tests.explore.shown import numbers
from tests.test_fuzz import unless_refused
from vsnn_lab import (
    Autoencoder,
    VariableBatchNorm1d,
    VariableLayerNorm,
    VariableLinear,
    Width,
    at_width,
    count_macs,
    count_parameters,
)
from vsnn_lab.explore import (
    AutoencoderExplorer,
    ClassifierExplorer,
    CodeExplorer,
    WidthComparison,
)
from vsnn_lab.explore.image_batch import to_sprites
from vsnn_lab.explore.predictions import count_classes, predict
from vsnn_lab.figures.images import MSE_SCALE

SHAPE, STEPS, CLASSES = (1, 3, 4), 6, 4
PIXELS = 12
Activation = Callable[[], nn.Module]


class Swish(nn.Module):
    """An activation of somebody's own that writes into its input."""

    def forward(self, x):
        return x.mul_(torch.sigmoid(x))


class Centred(nn.Module):
    """Mixes the samples of a batch, and the units."""

    def forward(self, x):
        return x - x.mean(0, keepdim=True) / 2 - x.mean(-1, keepdim=True)


class Residual(nn.Module):
    """A sum of what it is given and a layer of it, with a buffer."""

    def __init__(self, width: Width):
        super().__init__()
        self.layer = VariableLinear(width, width)
        self.register_buffer("scale", torch.tensor(0.7))

    def forward(self, x):
        return x + self.scale * torch.tanh(self.layer(x))


def chain(first: nn.Module | None, *between: Callable[[Width], nn.Module], out: int) -> nn.Module:
    width = Width(STEPS)
    before = [] if first is None else [first]
    layers = [make(width) for make in between]
    return nn.Sequential(
        *before, VariableLinear(PIXELS, width), *layers, VariableLinear(width, out)
    )


def hooked(out: int) -> nn.Module:
    net = chain(None, lambda _: nn.ReLU(), out=out)
    net[0].register_forward_hook(lambda layer, args, output: output * output.shape[-1])
    net[2].register_forward_pre_hook(lambda layer, args: (args[0] - 0.3,))
    return net


def shared(out: int) -> nn.Module:
    width, activation = Width(STEPS), nn.Softplus()
    again = VariableLinear(width, width)
    ends = VariableLinear(PIXELS, width), VariableLinear(width, out)
    return nn.Sequential(ends[0], activation, again, activation, again, activation, ends[1])


def normed(out: int) -> nn.Module:
    net = chain(None, VariableBatchNorm1d, lambda _: nn.ReLU(), out=out)
    net(2 + torch.randn(50, PIXELS))
    return net


NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "in place": lambda out: chain(None, lambda _: nn.ReLU(inplace=True), out=out),
    "in place on the images": lambda out: chain(nn.SELU(inplace=True), out=out),
    "Mish and CELU in place": lambda out: chain(
        nn.Mish(inplace=True), lambda _: nn.CELU(inplace=True), out=out
    ),
    "an own activation in place": lambda out: chain(Swish(), lambda _: Swish(), out=out),
    "hooks": hooked,
    "softmax over units": lambda out: chain(None, lambda _: nn.Softmax(-1), out=out),
    "normalised over units": lambda out: chain(None, VariableLayerNorm, out=out),
    "batch norm": normed,
    "centred over the batch": lambda out: chain(None, lambda _: Centred(), out=out),
    "dropout": lambda out: chain(None, lambda _: nn.Dropout(0.9), out=out),
    "residual sum": lambda out: chain(None, Residual, out=out),
    "shared modules": shared,
    "hardtanh": lambda out: chain(None, lambda _: nn.Hardtanh(0.2, 0.9), out=out),
    "bfloat16": lambda out: chain(None, lambda _: nn.Tanh(), out=out).bfloat16(),
    "half": lambda out: chain(None, lambda _: nn.ReLU(), out=out).half(),
}
by_name = pytest.mark.parametrize("name", NETWORKS)


class AsImages(nn.Module):
    """An autoencoder of somebody's own around a network of vectors."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.encoder, self.decoder = nn.Flatten(), network
        self.shape = SHAPE

    def forward(self, x):
        return self.decoder(self.encoder(x)).view(-1, *SHAPE)


def images_for(model: nn.Module, count: int = 9) -> Tensor:
    return torch.rand(count, *SHAPE).to(next(model.parameters()).dtype)


def plain(model: nn.Module, x: Tensor) -> list[Tensor]:
    """Return the outputs of the plain path, in evaluation mode, each from inputs of its own."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    found = []
    with torch.no_grad():
        for width in range(1, STEPS + 1):
            with at_width(model, width):
                found.append(model(x.clone()))
    for module, training in modes:
        module.training = training
    return found


def tolerance(model: nn.Module) -> float:
    """Return how far sums in another order may be off."""
    return {torch.bfloat16: 2e-2, torch.half: 2e-3}.get(next(model.parameters()).dtype, 1e-5)


@by_name
def test_reconstructions_are_those_of_the_plain_path(name):
    model = AsImages(NETWORKS[name](PIXELS)).train()
    images = images_for(model)
    before, expected = images.clone(), plain(model, images)
    explorer = AutoencoderExplorer(model, images, shown=len(images))
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    shown = torch.stack(plain(model, images[order])).float().clamp(0, 1)
    assert torch.equal(images, before), "the caller's images were written into"
    found = torch.from_numpy(numbers(explorer, "rebuilt").copy()).permute(0, 1, 4, 2, 3)
    # A pixel half-way between two bytes may be rounded either way.
    assert ((shown * 255).round() - found).abs().max() <= (1 if tolerance(model) < 1e-3 else 6)
    errors = [F.mse_loss(output.double(), images.double()).item() for output in expected]
    np.testing.assert_allclose(explorer.sweep.values, errors, rtol=50 * tolerance(model))


@by_name
def test_predictions_are_those_of_the_plain_path(name):
    model = NETWORKS[name](CLASSES).train()
    images = images_for(model, 40)
    inputs, labels = images.flatten(1).clone(), torch.arange(40) % CLASSES
    before, expected = inputs.clone(), torch.stack(plain(model, inputs)).float()
    explorer = ClassifierExplorer(model, images.float(), labels, inputs=inputs)
    assert torch.equal(inputs, before), "the caller's inputs were written into"
    # The largest output, but for those that rounding may exchange.
    chosen = torch.from_numpy(explorer.predictions).long().unsqueeze(-1)
    short = expected.amax(-1) - expected.gather(-1, chosen).squeeze(-1)
    assert short.max() <= tolerance(model) * max(1, expected.abs().max())
    right = (torch.from_numpy(explorer.predictions) == labels).double().mean(1)
    np.testing.assert_allclose(explorer.sweep.values, right)
    for width in (1, 3, STEPS):
        assert explorer.sweep.cost("parameters", width) == count_parameters(model, width)
        assert explorer.sweep.cost("macs", width) == count_macs(model, width, inputs)


@by_name
def test_the_images_of_a_comparison_are_those_of_the_plain_path(name):
    model = AsImages(NETWORKS[name](PIXELS)).train()
    images = images_for(model)
    before = images.clone()
    comparison = WidthComparison(model, images)
    for image in (0, 7):
        comparison.show_image(image)
        expected = torch.cat(plain(model, images[image : image + 1])).double()
        assert torch.equal(images, before), "the caller's images were written into"
        found = torch.from_numpy(numbers(comparison, "rebuilt")[:, 0].copy()).permute(0, 3, 1, 2)
        shown = (expected.clamp(0, 1) * 255).round()
        # A pixel half-way between two bytes may be rounded either way.
        assert (shown - found).abs().max() <= (1 if tolerance(model) < 1e-3 else 6)
        for width in (1, 4):
            error = (expected[width - 1] - images[image].double()).square().mean() * MSE_SCALE
            told = numbers(comparison, "errors")[width - 1]
            assert abs(told - error) <= 0.01 + 50 * tolerance(model) * error


@by_name
def test_a_code_that_is_moved_by_nothing_decodes_to_the_plain_path(name):
    network = NETWORKS[name](PIXELS)
    model = AsImages(network).train()
    model.encoder = nn.Sequential(nn.Flatten(), network)
    model.decoder = nn.Unflatten(-1, SHAPE)
    images = images_for(model)
    before = images.clone()
    explorer = CodeExplorer(model, images)
    for width in (2, STEPS):
        explorer.width = width
        explorer.show_image(3)
        expected = plain(model, images[3:4])[width - 1]
        assert torch.equal(images, before), "the caller's images were written into"
        for name in ("own", "moved"):
            shown = to_sprites(expected)
            np.testing.assert_allclose(numbers(explorer, name)[width - 1], shown, atol=1)
        error = (expected.double() - images[3].double()).square().mean() * MSE_SCALE
        told = numbers(explorer, "own error")[width - 1]
        assert told == pytest.approx(error.item(), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("conditioned", [False, True])
def test_our_own_autoencoder_shows_the_same_on_its_shared_trunk(conditioned):
    model = Autoencoder(SHAPE, Width(STEPS), hidden=(7,), conditioned=conditioned)
    images = images_for(model)
    expected = plain(model, images)
    comparison = WidthComparison(model, images)
    explorer = AutoencoderExplorer(model, images)
    for image in range(3):
        comparison.show_image(image)
        own = to_sprites(torch.stack([output[image] for output in expected]))
        np.testing.assert_allclose(numbers(comparison, "rebuilt")[:, 0], own, atol=1)
    errors = [F.mse_loss(output, images).item() for output in expected]
    np.testing.assert_allclose(explorer.sweep.values, errors, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")
@pytest.mark.parametrize("container", grammar.CONTAINERS)
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_networks_as_people_write_them_are_predicted_by_the_plain_path(container, data):
    model, x = data.draw(grammar.networks(container))
    model.eval()
    inputs, expected = x.clone(), []
    with torch.no_grad():
        for width in range(1, grammar.STEPS + 1):
            with at_width(model, width):
                expected.append(model(x.clone()).double())
    # One that ends in its units tells other classes apart at each width.
    classes = unless_refused("model must", lambda: count_classes(model, inputs))
    if classes is None:
        return
    found = torch.from_numpy(predict(model, inputs, classes)).long()
    assert torch.equal(inputs, x), "the caller's inputs were written into"
    for output, chosen in zip(expected, found, strict=True):
        short = output.amax(1) - output.gather(1, chosen.unsqueeze(1)).squeeze(1)
        assert short.nan_to_num().max() <= tolerance(model) * max(
            1, output.nan_to_num().abs().max()
        )
