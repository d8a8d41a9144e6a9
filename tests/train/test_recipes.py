"""A recipe's loss is the one written out by hand, width by width, in extracted networks."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.train.test_resume import Interrupting
from vsnn_lab import (
    MLP,
    Autoencoder,
    FullAndNarrow,
    Listed,
    Sampled,
    Stratified,
    Width,
    at_width,
    fit,
)


def autoencoder(**options) -> nn.Module:
    net = Autoencoder((6,), Width(8), (7,), nn.Tanh, **options).double()
    for parameter in net.parameters():
        nn.init.normal_(parameter, 0, 0.5)
    return net


def gradients(net: nn.Module, value: torch.Tensor) -> dict[str, torch.Tensor]:
    net.zero_grad()
    value.backward()
    return {name: parameter.grad.clone() for name, parameter in net.named_parameters()}


@pytest.mark.parametrize(
    "build",
    [
        autoencoder,
        lambda: autoencoder(conditioned=True),
        lambda: MLP(6, (Width(8), 5), 6).double(),
    ],
)
def test_narrow_losses_count_relative_to_their_size(build):
    net = build()
    x = torch.rand(6, 6).double()
    widths = torch.tensor([[1, 1, 1, 3, 3, 5], [2, 2, 2, 2, 8, 8]])
    found = FullAndNarrow(draws=2, weight=0.7, shared=1.0)(net, x, x, widths, F.mse_loss)
    full = F.mse_loss(net(x), x)
    expected = full
    for draw in widths:
        for width in set(draw.tolist()):
            rows = draw == width
            with at_width(net, width):
                value = F.mse_loss(net(x[rows]), x[rows])
            share = 0.7 * int(rows.sum()) / 12
            expected = expected + share * full.detach() * value.log()
    by_hand = gradients(net, expected / 1.7)
    for name, gradient in gradients(net, found).items():
        torch.testing.assert_close(gradient, by_hand[name], rtol=1e-9, atol=1e-12, msg=name)
    # Relative to the full loss each narrow one is as large as it.
    torch.testing.assert_close(found, full)


@pytest.mark.parametrize("progress", [0.0, 0.25, 1.0])
def test_towards_the_end_full_width_has_the_shared_weights_to_itself(progress):
    net = autoencoder(conditioned=True)
    x, widths = torch.rand(6, 6).double(), torch.tensor([[1, 1, 3, 3, 5, 5]])

    def trained(share, at, weights):
        recipe = FullAndNarrow(weight=weights[0], final_weight=weights[1], shared=share)
        return gradients(net, recipe(net, x, x, widths, F.mse_loss, at))

    weight = 0.8 + (0.2 - 0.8) * progress
    found = trained(0.6, progress, (0.8, 0.2))
    whole, full = trained(1.0, 0.0, (weight, None)), trained(1.0, 0.0, (0.0, None))
    for name, gradient in found.items():
        alone = full[name] / (1 + weight)
        lent = name in ("decoder.0.weight", "decoder.0.bias", "decoder.2.weight", "decoder.2.bias")
        share = 0.6 * (1 - progress) if lent else 1.0
        by_hand = alone + share * (whole[name] - alone)
        torch.testing.assert_close(gradient, by_hand, rtol=1e-9, atol=1e-12, msg=name)


def test_fit_tells_a_recipe_how_far_the_training_is():
    told, x = [], torch.rand(8, 6)

    class Telling(FullAndNarrow):
        def __call__(self, model, x, y, widths, loss, progress=0.0):
            told.append(progress)
            return super().__call__(model, x, y, widths, loss, progress)

    net = Autoencoder((6,), Width(8), (7,))
    options = {"epochs": 2, "batch_size": 4, "progress": False, "validation": None}
    fit(net, (x, x), F.mse_loss, recipe=Telling(), **options)
    assert told == [0.0, 0.25, 0.5, 0.75]


def test_full_width_does_not_train_the_spared_units():
    net = autoencoder()
    x = torch.rand(6, 6).double()
    widths = torch.full((1, 6), 3)
    grads = gradients(
        net, FullAndNarrow(draws=1, weight=0.0, spared=2)(net, x, x, widths, F.mse_loss)
    )
    spared = gradients(net, F.mse_loss(net(x), x))
    last = "encoder.3.weight"
    assert (grads[last][:2] == 0).all()
    torch.testing.assert_close(grads[last][2:], spared[last][2:])
    assert (spared[last][:2] != 0).all()
    torch.testing.assert_close(grads["decoder.0.weight"], spared["decoder.0.weight"])


@pytest.mark.parametrize("shift", [0.0, -1.0])
def test_a_loss_of_zero_or_below_keeps_its_gradient_finite_and_its_direction(shift):
    net = autoencoder()
    x = torch.rand(6, 6).double()
    y = net(x).detach() if shift == 0 else x
    widths = torch.full((1, 6), 8)  # at full width the narrow loss is the full one

    def loss(output, target):
        return F.mse_loss(output, target) + shift

    grads = gradients(net, FullAndNarrow(draws=1, shared=1.0)(net, x, y, widths, loss))
    plain = gradients(net, loss(net(x), y))
    for name, grad in plain.items():
        torch.testing.assert_close(grads[name], grad)


def test_the_encoder_runs_once_for_all_widths_of_the_code():
    net, runs = autoencoder(), []
    net.encoder[1].register_forward_hook(lambda *_: runs.append(1))
    widths = torch.tensor([[1, 2, 3, 4, 5, 6]])
    x = torch.rand(6, 6).double()
    FullAndNarrow(draws=1)(net, x, x, widths, F.mse_loss)
    assert len(runs) == 1


def test_fit_takes_a_recipe_and_a_sampler_is_short_for_one():
    x = torch.rand(32, 6)
    first = Autoencoder((6,), Width(8), (7,))
    second = copy.deepcopy(first)
    options = {"epochs": 2, "batch_size": 8, "progress": False}
    fit(first, (x, x), F.mse_loss, sampler=Stratified(2), **options)
    fit(second, (x, x), F.mse_loss, recipe=Sampled(Stratified(2)), **options)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(ValueError, match="sampler must be None beside a recipe, got"):
        fit(first, (x, x), F.mse_loss, sampler=Stratified(2), recipe=Sampled(), **options)
    with pytest.raises(TypeError, match=r"recipe must be a recipe or None, .*draws widths"):
        fit(first, (x, x), F.mse_loss, recipe=Stratified(2), **options)


def test_an_interrupted_run_of_a_recipe_ends_as_if_it_had_not_been(tmp_path):
    x = torch.rand(32, 6)
    whole = Autoencoder((6,), Width(8), (7,), conditioned=True)
    broken = copy.deepcopy(whole)
    options = {"epochs": 3, "batch_size": 8, "progress": False, "recipe": FullAndNarrow()}
    fit(whole, (x, x), F.mse_loss, **options)
    loss = Interrupting(at=30)  # a step has five losses, an epoch four steps
    with pytest.raises(KeyboardInterrupt):
        fit(broken, (x, x), loss, checkpoint=tmp_path, **options)
    history = fit(broken, (x, x), loss, checkpoint=tmp_path, **options)
    assert history.resumed_at == 1
    for one, other in zip(whole.parameters(), broken.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sampler": 3}, TypeError, "sampler must be a sampler, got 3"),
        ({"draws": 0}, ValueError, "draws must be at least 1, got 0"),
        ({"shared": 1.5}, ValueError, r"shared must lie in \[0, 1\], got 1.5"),
        ({"final_weight": -1}, ValueError, "final_weight must be a finite number of at least 0"),
        ({"spared": -1}, ValueError, "spared must be at least 0, got -1"),
        ({"weight": -0.5}, ValueError, "weight must be a finite number of at least 0, got -0.5"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        FullAndNarrow(**options)


def test_a_draw_is_a_row_of_widths_in_ascending_order():
    drawn = FullAndNarrow(Listed((2, 5)), draws=3).draw(7, 8, torch.Generator())
    assert drawn.shape == (3, 7)
    assert set(drawn.flatten().tolist()) <= {2, 5}
    assert (drawn.diff(dim=1) >= 0).all()
