"""A recipe's loss is the one written out by hand, width by width, in extracted networks."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.own import stir
from tests.train.test_resume import Interrupting
from vsnn_lab import (
    MLP,
    Autoencoder,
    Distilled,
    Fixed,
    Sampled,
    Stratified,
    Triangular,
    Uniform,
    Width,
    at_width,
    fit,
)
from vsnn_lab.train.recipes import Recipe, Step


def autoencoder(**options) -> nn.Module:
    net = Autoencoder((6,), Width(8), (7,), nn.Tanh, **options).double()
    for parameter in net.parameters():
        nn.init.normal_(parameter, 0, 0.5)
    return net


def given(*widths: int) -> Callable[..., torch.Tensor]:
    """Return a sampler that draws what it is given."""
    return lambda *_: torch.tensor(widths)


def loss_of(recipe: Recipe, *step: Any) -> torch.Tensor:
    return sum(recipe.losses(Step(*step)))


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
@pytest.mark.parametrize("relative", [True, False])
def test_each_sample_counts_at_a_narrow_width_that_a_sampler_draws(build, relative):
    net = stir(build())
    x = torch.rand(6, 6).double()
    widths = torch.tensor([1, 1, 1, 3, 3, 5])
    recipe = Distilled(lambda *_: widths, labels=0.75, weight=0.7, relative=relative)
    found = loss_of(recipe, net, x, x, F.mse_loss)
    output = net(x)
    full, taught = F.mse_loss(output, x), output.detach()
    expected = full
    for width in set(widths.tolist()):
        rows = widths == width
        with at_width(net, width):
            narrow = net(x[rows])
        value = 0.75 * F.mse_loss(narrow, x[rows]) + 0.25 * F.mse_loss(narrow, taught[rows])
        scale = full.detach() / value.detach() if relative else 1.0
        expected = expected + 0.7 * int(rows.sum()) / 6 * scale * value
    torch.testing.assert_close(found, expected)
    by_hand = gradients(net, expected)
    for name, gradient in gradients(net, found).items():
        torch.testing.assert_close(gradient, by_hand[name], rtol=1e-9, atol=1e-12, msg=name)


def test_a_sampler_draws_for_the_widths_below_full_width():
    asked, x = [], torch.rand(6, 6).double()

    def sampler(batch_size, steps, generator):
        asked.append((batch_size, steps))
        return Uniform()(batch_size, steps, generator)

    loss_of(Distilled(sampler), autoencoder(), x, x, F.mse_loss)
    assert asked == [(6, 7)]
    alone = Autoencoder((6,), Width(1), (7,)).double()
    (full,) = Distilled(sampler).losses(Step(alone, x, x, F.mse_loss))
    torch.testing.assert_close(full, F.mse_loss(alone(x), x))
    assert asked == [(6, 7)]


def test_fit_tells_a_recipe_how_far_the_training_is():
    told, x = [], torch.rand(8, 6)

    class Telling(Distilled):
        def losses(self, step):
            told.append(step.progress)
            return super().losses(step)

    net = Autoencoder((6,), Width(8), (7,))
    options = {"epochs": 2, "batch_size": 4, "progress": False, "validation": None}
    fit(net, (x, x), F.mse_loss, recipe=Telling(), **options)
    assert told == [0.0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize("shift", [0.0, -1.0])
def test_a_relative_loss_of_zero_or_below_keeps_its_gradient_finite_and_its_direction(shift):
    net = autoencoder()
    x = torch.rand(6, 6).double()
    with at_width(net, 3), torch.no_grad():
        y = net(x) if shift == 0 else x

    def loss(output, target):
        return F.mse_loss(output, target) + shift

    recipe = Distilled(Fixed(3), labels=1.0, relative=True)
    found = gradients(net, loss_of(recipe, net, x, y, loss))
    full = loss(net(x), y)
    with at_width(net, 3):
        narrow = loss(net(x), y)
    scale = 0.0 if shift == 0 else abs(full.item() / narrow.item())
    by_hand = gradients(net, full + scale * narrow)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, by_hand[name])


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
    recipe = Distilled(Uniform(), labels=1.0)
    options = {"epochs": 3, "batch_size": 8, "progress": False, "recipe": recipe}
    fit(whole, (x, x), F.mse_loss, **options)
    loss = Interrupting(at=14)  # a step has two losses, an epoch four steps
    with pytest.raises(KeyboardInterrupt):
        fit(broken, (x, x), loss, checkpoint=tmp_path, **options)
    history = fit(broken, (x, x), loss, checkpoint=tmp_path, **options)
    assert history.resumed_at == 1
    for one, other in zip(whole.parameters(), broken.parameters(), strict=True):
        assert torch.equal(one, other)


def test_processes_that_share_a_batch_take_every_other_sample_of_what_one_draws():
    x, y, drawn = torch.rand(7, 5), torch.arange(7), []

    def recording(*arguments):
        drawn.append(Triangular()(*arguments))
        return drawn[-1]

    net, generator = MLP(5, (Width(8),), 3), torch.Generator()
    for first in (0, 1):
        step = Step(net, x[first::2], y[first::2], F.mse_loss, generator, 0.0, range(first, 7, 2))
        assert torch.equal(step.draw(recording), drawn[-1][first::2])
        assert drawn[-1].shape == (7,)
        for count in range(8):
            rows = torch.arange(7)[first::2][step.first_rows(count / 7)]
            assert rows.tolist() == [*range(first, count, 2)]


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        ({"y": torch.rand(4, 3)}, ValueError, "x and y must have as many rows, got 6 and 4"),
        ({"samples": range(5)}, ValueError, r"samples must be a range of 6, .*got range\(0, 5\)"),
        ({"progress": 1.5}, ValueError, r"progress must lie in \[0, 1\], got 1.5"),
        ({"loss": nn.MSELoss}, TypeError, r"loss must be callable .* MSELoss\(\) makes one"),
        ({"model": nn.Linear(6, 6)}, ValueError, "model must have a variable axis, got none"),
    ],
)
@pytest.mark.parametrize("recipe", [Sampled(), Distilled(Uniform()), Distilled()])
def test_a_step_that_makes_no_sense_is_refused(recipe, parts, error, message):
    x = torch.rand(6, 6).double()
    step = {"model": autoencoder(), "x": x, "y": x, "loss": F.mse_loss} | parts
    with pytest.raises(error, match=message):
        [*recipe.losses(Step(**step))]
    with pytest.raises(TypeError, match=r"step must be a train\.recipes\.Step, got 3"):
        [*recipe.losses(3)]


def test_a_recipe_of_ones_own_is_one_method_and_one_without_a_loss_is_refused():
    class EveryWidth(Recipe):
        def losses(self, step):
            for width in range(1, step.control.steps + 1):
                with at_width(step.control, width):
                    yield step.loss(step.model(step.x), step.y) / step.control.steps

    x = torch.rand(8, 5)
    found = MLP(5, (Width(4),), 5)
    hand = copy.deepcopy(found)
    options = {"epochs": 1, "batch_size": 8, "schedule": "constant", "lr": 0.01}
    options |= {"validation": None, "progress": False}
    fit(found, (x, x), F.mse_loss, recipe=EveryWidth(), **options)
    optimizer = torch.optim.Adam(hand.parameters(), lr=0.01)
    for width in range(1, 5):
        with at_width(hand, width):
            (F.mse_loss(hand(x), x) / 4).backward()
    optimizer.step()
    for one, other in zip(found.parameters(), hand.parameters(), strict=True):
        torch.testing.assert_close(one, other)

    class Silent(Recipe):
        def losses(self, step):
            return iter(())

    with pytest.raises(ValueError, match="recipe must yield a loss, got none of"):
        fit(found, (x, x), F.mse_loss, recipe=Silent(), **options)
