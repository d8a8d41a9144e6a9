"""The distilled recipe: full width teaches the narrow ones, and is not disturbed by them."""

import copy
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vsnn_lab import (
    MLP,
    ConvNet,
    Distilled,
    EachOctave,
    Full,
    NarrowestAndRandom,
    Phases,
    Sampled,
    Stratified,
    Triangular,
    Width,
    at_width,
    extract,
    fit,
    soft_targets,
)
from vsnn_lab.layers.octaves import octave_of, octave_tops
from vsnn_lab.train.recipes import RECIPES, Recipe, Step
from vsnn_lab.train.recipes.narrow_widths import Narrow

# One width of each octave up to half of 16.
NARROW = [(1, 0.75), (2, 0.75), (4, 0.75), (7, 0.75)]


def narrow_octaves(steps: int) -> int:
    return sum(2 * top <= steps for top in octave_tops(steps))


def network(conditioned: bool = True, steps: int = 16) -> MLP:
    hidden = Width(steps)
    net = MLP(5, (hidden, hidden), 3, nn.Tanh, conditioned=conditioned)
    for parameter in net.parameters():
        nn.init.normal_(parameter, 0, 0.4)
    return net.double()


def batch(rows: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(rows, 5).double(), torch.arange(rows) % 3


def gradients(net: nn.Module, value: torch.Tensor) -> dict[str, torch.Tensor]:
    net.zero_grad()
    value.backward()
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in net.named_parameters()
    }


def drawing(
    *draws: tuple[int, float], steps: int = 16, wide_weight: float = 1.0, **options: Any
) -> Distilled:
    """Return the recipe with widths of our choice, each with its share of the samples."""
    octaves = narrow_octaves(steps)
    weights = [1 / octaves if octave_of(width) < octaves else wide_weight for width, _ in draws]
    drawn = [Narrow(*draw, weight) for draw, weight in zip(draws, weights, strict=True)]

    class Drawing:
        def draw(self, steps, generator=None):
            return drawn

    return Distilled(Drawing(), **options)


def loss_of(recipe: Recipe, *step: Any) -> torch.Tensor:
    return sum(recipe.losses(Step(*step)))


def by_hand(net, x, y, draws, labels, weight, wide_weight):
    """The loss width by width, with extracted networks' outputs for targets and plain formulas."""
    full = net(x)
    told = labels * F.one_hot(y, 3).to(full) + (1 - labels) * full.detach().softmax(1)
    total = -(full.log_softmax(1)[torch.arange(len(y)), y]).mean()
    octaves = narrow_octaves(16)
    for width, share in draws:
        count = round(share * len(y))
        with at_width(net, width):
            output = net(x[:count])
        value = -(told[:count] * output.log_softmax(1)).sum(1).mean()
        narrow = octave_of(width) < octaves
        total = total + weight * (1 / octaves if narrow else wide_weight) * value
    return total


@pytest.mark.parametrize(("conditioned", "hooked"), [(True, False), (True, True), (False, False)])
@pytest.mark.parametrize(
    "draws", [[*NARROW[:3], (6, 0.75)], [*NARROW, (11, 0.5)], [*NARROW, (3, 0.5), (5, 0.25)]]
)
def test_narrow_widths_learn_labels_blended_with_what_full_width_says(conditioned, hooked, draws):
    net, (x, y) = network(conditioned), batch()
    if hooked:  # what somebody watches runs at one width after the other
        net.register_forward_hook(lambda *_: None)
    recipe = drawing(*draws, labels=0.3, weight=0.7, wide_weight=0.4)
    found = loss_of(recipe, net, x, y, F.cross_entropy)
    expected = by_hand(net, x, y, draws, 0.3, 0.7, 0.4)
    torch.testing.assert_close(found, expected)
    wanted = gradients(net, expected)
    for name, gradient in gradients(net, found).items():
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize("loss", [F.cross_entropy, F.mse_loss, nn.SmoothL1Loss()])
@pytest.mark.parametrize("schedule", [lambda one: one, lambda one: Phases(((1.0, one),))])
def test_the_gradients_of_its_parts_taken_one_by_one_are_those_of_the_whole(loss, schedule):
    net, (x, y) = network(), batch()
    target = y if loss is F.cross_entropy else torch.randn(12, 3).double()
    step = (net, x, target, loss, None, 0.5)
    recipe = schedule(drawing(*NARROW, (11, 0.5)))
    whole = loss_of(recipe, *step)
    wanted, parts = gradients(net, whole), []
    net.zero_grad()
    for part in recipe.losses(Step(*step)):
        part.backward()  # raises where a part needs what another held
        parts.append(part.item())
    assert len(parts) > 2
    assert sum(parts) == pytest.approx(whole.item(), rel=1e-12)
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize("hooked", [False, True])
def test_full_width_trains_as_if_it_were_alone_to_the_bit(hooked):
    torch.manual_seed(0)
    hidden = Width(16)
    net = MLP(5, (hidden, hidden), 3, conditioned=True)
    torch.manual_seed(0)
    plain = MLP(5, (16, 16), 3)
    if hooked:
        net.register_forward_hook(lambda *_: None)
    x, y = torch.randn(60, 5), torch.arange(60) % 3
    options = {"epochs": 3, "batch_size": 20, "validation": None, "progress": False}
    fit(net, (x, y), F.cross_entropy, **options)
    fit(plain, (x, y), F.cross_entropy, **options)
    assert torch.equal(net(x), plain(x))
    assert net[0].own_weights.weight_narrow.abs().sum() > 0


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 16, 20, 48, 256])
@pytest.mark.parametrize(("half", "wide"), [(0.5, 0.25), (0.6, 0.4), (0.75, 0.5), (1.0, 1.0)])
def test_a_draw_is_one_width_of_each_narrow_octave_and_sometimes_wider_ones(steps, half, wide):
    generator, seen, counts = torch.Generator().manual_seed(0), set(), [0, 0]
    recipe, octaves = EachOctave(0.75, half, wide), narrow_octaves(steps)
    narrow = sum(4 * top <= steps or 2 * top <= steps <= 32 for top in octave_tops(steps))
    for _ in range(400):
        draws = recipe.draw(steps, generator)
        seen |= {each.position for each in draws}
        found = [octave_of(each.position) for each in draws]
        assert found == sorted({*found})  # one of each
        assert all(each.position < steps for each in draws)
        assert found[:narrow] == [*range(narrow)]
        assert all(each.rows == 0.75 for each in draws)
        several = [
            any(narrow <= each < octaves for each in found),
            max(found, default=-1) >= octaves,
        ]
        if half + wide <= 1:
            assert sum(several) <= 1
        counts = [count + drawn for count, drawn in zip(counts, several, strict=True)]
    there = [octaves > narrow, octaves < len(octave_tops(steps))]
    for count, share, is_there in zip(counts, (half, wide), there, strict=True):
        assert abs(count - 400 * share * is_there) < 40
    assert seen >= {top for top in octave_tops(steps) if 2 * top <= steps}
    if steps <= 20:
        assert seen == set(range(1, steps))


@pytest.mark.parametrize("steps", [1, 3, 16, 256])
def test_with_inner_rows_the_widest_of_each_narrow_octave_trains_in_every_step(steps):
    generator, inner = torch.Generator().manual_seed(0), set()
    recipe, octaves = EachOctave(0.75, 1.0, inner_rows=0.25), narrow_octaves(steps)
    tops = octave_tops(steps)[:octaves]
    several = [index for index, (a, b) in enumerate(pairwise([0, *tops])) if b - a > 1]
    for _ in range(400):
        draws = [each[:2] for each in recipe.draw(steps, generator)]
        assert draws[:octaves] == [(top, 0.75) for top in tops]
        second = draws[octaves : octaves + len(several)]
        assert [octave_of(width) for width, _ in second] == several
        assert all(share == 0.25 and width not in tops for width, share in second)
        inner |= {width for width, _ in second}
        assert all(octaves <= octave_of(width) for width, _ in draws[octaves + len(several) :])
    if steps <= 16:
        assert inner == {*range(1, max(tops, default=1))} - {*tops}


@pytest.mark.parametrize(
    ("loss", "output", "target", "teach"),
    [
        (F.mse_loss, torch.rand(4, 2), torch.rand(4, 2), lambda out: out),
        (
            nn.CrossEntropyLoss(),
            torch.rand(4, 2),
            torch.tensor([0, 1, 1, 0]),
            lambda o: o.softmax(1),
        ),
        (F.binary_cross_entropy_with_logits, torch.rand(4, 2), torch.rand(4, 2), torch.sigmoid),
    ],
)
def test_what_an_output_means_as_a_target_follows_from_the_loss(loss, output, target, teach):
    net = nn.Sequential(MLP(3, (Width(2),), 2))
    x = torch.rand(4, 3)
    found = loss_of(drawing((1, 1.0), steps=2, labels=0.25), net, x, target, loss)
    full = net(x)
    with at_width(net, 1):
        narrow = net(x)
    taught = loss(narrow, teach(full.detach()))
    torch.testing.assert_close(
        found, loss(full, target) + 0.25 * loss(narrow, target) + 0.75 * taught
    )


def test_a_loss_of_ones_own_teaches_by_labels_alone_unless_it_is_told_how():
    net = MLP(3, (Width(2),), 2)
    x, y = torch.rand(4, 3), torch.rand(4, 2)

    def loss(output, target):
        return (output - target).abs().pow(1.5).mean()

    with at_width(net, 1):
        narrow = net(x)
    full = net(x)
    untaught = loss_of(drawing((1, 1.0), steps=2, labels=0.0), net, x, y, loss)
    torch.testing.assert_close(untaught, loss(full, y) + loss(narrow, y))
    recipe = drawing((1, 1.0), steps=2, labels=0.0, teach=lambda output: 2 * output)
    taught = loss_of(recipe, net, x, y, loss)
    torch.testing.assert_close(taught, loss(full, y) + loss(narrow, 2 * full.detach()))


def test_it_trains_a_convolutional_network_and_every_width_beats_chance():
    channels = Width(8)
    torch.manual_seed(0)
    net = ConvNet((1, 6, 6), (channels, channels), 2, conditioned=True)
    y = torch.arange(80) % 2
    x = torch.rand(80, 1, 6, 6)
    x[y == 1, :, :3] += 1
    fit(net, (x, y), F.cross_entropy, epochs=25, batch_size=20, lr=1e-2, progress=False)
    for width in range(1, 9):
        assert (extract(net, width)(x).argmax(1) == y).double().mean() > 0.9, width


@pytest.mark.parametrize("name", RECIPES)
def test_fit_knows_recipes_by_name(name):
    x, y = torch.rand(24, 5), torch.arange(24) % 3
    hidden = Width(8)
    first = MLP(5, (hidden,), 3)
    second = copy.deepcopy(first)
    options = {"epochs": 2, "batch_size": 8, "progress": False}
    fit(first, (x, y), F.cross_entropy, recipe=name, **options)
    fit(second, (x, y), F.cross_entropy, recipe=RECIPES[name], **options)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_default_recipe_is_the_distilled_one_and_unknown_names_are_refused():
    x, y = torch.rand(24, 5), torch.arange(24) % 3
    first = MLP(5, (Width(8),), 3)
    second = copy.deepcopy(first)
    options = {"epochs": 2, "batch_size": 8, "progress": False}
    fit(first, (x, y), F.cross_entropy, **options)
    fit(second, (x, y), F.cross_entropy, recipe="distilled", **options)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(ValueError, match=r"recipe must be one of 'triangular', .*got 'destilled'"):
        fit(first, (x, y), F.cross_entropy, recipe="destilled", **options)


def test_phases_change_the_recipe_and_tell_each_how_far_it_is():
    told = []

    class Telling(Sampled):
        def losses(self, step):
            told.append((self.sampler, step.progress))
            return super().losses(step)

    plain, own = Full(), Stratified(2)
    schedule = Phases(((0.5, Telling(plain)), (1.0, Telling(own))))
    x, y = torch.rand(8, 5), torch.arange(8) % 3
    options = {"epochs": 4, "batch_size": 4, "validation": None, "progress": False}
    fit(MLP(5, (Width(8),), 3), (x, y), F.cross_entropy, recipe=schedule, **options)
    assert told == [(each, i / 4) for each in (plain, own) for i in range(4)]


@pytest.mark.parametrize(
    ("phases", "error", "message"),
    [
        ([(1.0, Sampled())], TypeError, r"phases must be a tuple of pairs \(until, recipe\), got"),
        ((), ValueError, r"phases must end at ascending shares up to 1, got \[\]"),
        (((0.5, Sampled()),), ValueError, r"ascending shares up to 1, got \[0.5\]"),
        (((0.5, Sampled()), (0.5, Sampled()), (1.0, Sampled())), ValueError, "ascending shares"),
        (((1.0, Triangular()),), TypeError, r"phases must hold recipes, got Triangular\(\)"),
    ],
)
def test_phases_that_make_no_sense_are_refused(phases, error, message):
    with pytest.raises(error, match=message):
        Phases(phases)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"narrow": 3}, TypeError, "narrow must be a sampler, or draw narrow widths, got 3"),
        ({"labels": 1.5}, ValueError, r"labels must lie in \[0, 1\], got 1.5"),
        ({"weight": -1}, ValueError, "weight must be a finite number of at least 0, got -1"),
        ({"final_weight": -1}, ValueError, "final_weight must be a finite number of at least 0"),
        ({"teach": 3}, TypeError, "teach must be callable on an output, or None, got 3"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        Distilled(**options)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (EachOctave, {"wide": 2}, r"wide must lie in \[0, 1\], got 2"),
        (EachOctave, {"wide_weight": -1}, "wide_weight must be a finite number of at least 0"),
        (NarrowestAndRandom, {"inner": -1}, "inner must be at least 0, got -1"),
        (NarrowestAndRandom, {"wide_share": 2}, r"wide_share must lie in \[0, 1\], got 2"),
    ],
)
def test_narrow_widths_that_make_no_sense_are_refused(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(**options)


def test_soft_targets_blend_classes_with_what_the_teacher_says():
    teacher = nn.Sequential(nn.Linear(3, 2), nn.Dropout())
    x, y = torch.rand(5, 3), torch.tensor([0, 1, 1, 0, 1])
    inputs, targets = soft_targets(teacher, (x, y), labels=0.25)
    expected = 0.25 * torch.eye(2)[y] + 0.75 * teacher[0](x).softmax(1)
    assert inputs is x
    torch.testing.assert_close(targets, expected)
    assert teacher.training
    with pytest.raises(ValueError, match=r"data must hold classes as integers of shape \(n,\)"):
        soft_targets(teacher, (x, torch.rand(5)))
    with pytest.raises(ValueError, match=r"data must hold classes in 0..1, got 0 to 2"):
        soft_targets(teacher, (x, y + torch.tensor([0, 0, 0, 0, 1])))
    with pytest.raises(ValueError, match="data must pair inputs with classes, got 4 and 5 rows"):
        soft_targets(teacher, (x[:4], y))
