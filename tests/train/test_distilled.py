"""The distilled recipe: full width teaches the narrow ones, and is not disturbed by them."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vsnn_lab import (
    MLP,
    ConvNet,
    Distilled,
    Full,
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
from vsnn_lab.layers.octaves import octave_of, octave_tops, octaves_with_weights
from vsnn_lab.train.recipes import NAMED


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


def drawn(*rows: tuple[int, int], steps: int = 16, size: int = 12) -> torch.Tensor:
    """Return widths as pairs of (width, samples that have it); the others stand at full width."""
    widths = torch.full((len(rows), size), steps)
    for row, (width, count) in zip(widths, rows, strict=True):
        row[:count] = width
    return widths


def by_hand(net, x, y, draws, labels, weight, wide_weight):
    """The loss width by width, with extracted networks' outputs for targets and plain formulas."""
    full = net(x)
    told = labels * F.one_hot(y, 3).to(full) + (1 - labels) * full.detach().softmax(1)
    total = -(full.log_softmax(1)[torch.arange(len(y)), y]).mean()
    octaves = octaves_with_weights(16)
    for width, count in draws:
        with at_width(net, width):
            output = net(x[:count])
        value = -(told[:count] * output.log_softmax(1)).sum(1).mean()
        narrow = octave_of(width) < octaves
        total = total + (weight / octaves if narrow else wide_weight) * value
    return total


@pytest.mark.parametrize("conditioned", [True, False])
@pytest.mark.parametrize(
    "draws", [[(1, 9), (2, 9), (3, 9)], [(1, 9), (2, 9), (4, 9), (7, 9), (11, 6)]]
)
def test_narrow_widths_learn_labels_blended_with_what_full_width_says(conditioned, draws):
    net, (x, y) = network(conditioned), batch()
    recipe = Distilled(labels=0.3, weight=0.7, wide_weight=0.4, final_shared=1.0)
    found = recipe(net, x, y, drawn(*draws), F.cross_entropy)
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
    widths = drawn((1, 9), (2, 9), (4, 9), (11, 6))
    call = (net, x, target, widths, loss, 0.5)
    recipe = schedule(Distilled())
    whole = recipe(*call)
    wanted, parts = gradients(net, whole), []
    net.zero_grad()
    for part in recipe.losses(*call):
        part.backward()  # raises where a part needs what another held
        parts.append(part.item())
    assert len(parts) > 2
    assert sum(parts) == pytest.approx(whole.item(), rel=1e-12)
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize("progress", [0.0, 0.25, 1.0])
def test_a_wider_width_passes_on_less_and_less_to_what_all_share(progress):
    net, (x, y) = network(), batch()
    widths = drawn((11, 12))

    def trained(shared, final, at):
        recipe = Distilled(shared=shared, final_shared=final)
        return gradients(net, recipe(net, x, y, widths, F.cross_entropy, at))

    found, whole = trained(0.8, 0.2, progress), trained(1.0, 1.0, 0.0)
    alone, share = gradients(net, F.cross_entropy(net(x), y)), 0.8 - 0.6 * progress
    for name, gradient in found.items():
        lent = name.partition(".")[2] in ("weight", "bias")
        expected = alone[name] + (share if lent else 1.0) * (whole[name] - alone[name])
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12, msg=name)


def test_without_sharing_full_width_trains_as_if_it_were_alone():
    torch.manual_seed(0)
    hidden = Width(16)
    net = MLP(5, (hidden, hidden), 3, conditioned=True)
    torch.manual_seed(0)
    plain = MLP(5, (16, 16), 3)
    x, y = torch.randn(60, 5), torch.arange(60) % 3
    options = {"epochs": 3, "batch_size": 20, "progress": False}
    fit(net, (x, y), F.cross_entropy, recipe=Distilled(shared=0.0, final_shared=0.0), **options)
    fit(plain, (x, y), F.cross_entropy, **options | {"validation": 0.1})
    torch.testing.assert_close(net(x), plain(x))


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 16, 20, 256])
def test_a_draw_is_one_width_of_each_narrow_octave_and_sometimes_a_wider_one(steps):
    generator, seen, wide = torch.Generator().manual_seed(0), set(), 0
    recipe, octaves = Distilled(narrow_rows=0.75, wide_rows=0.125), octaves_with_weights(steps)
    for _ in range(400):
        rows = recipe.draw(8, steps, generator)
        narrow = [row for row in rows.tolist() if row[0] < steps]
        seen |= {row[0] for row in narrow}
        assert [octave_of(row[0]) for row in narrow][:octaves] == [*range(octaves)]
        for row in narrow[:octaves]:
            assert row == [row[0]] * 6 + [steps] * 2
        for row in narrow[octaves:]:
            wide += 1
            assert octave_of(row[0]) >= octaves
            count = 4 if octaves else 1
            assert row == [row[0]] * count + [steps] * (8 - count)
    assert seen >= set(octave_tops(steps)[:octaves])
    if steps <= 20:
        assert seen == set(range(1, steps))
    if 0 < octaves < len(octave_tops(steps)):
        assert 60 < wide < 140  # a quarter of the steps


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
    found = Distilled(labels=0.25, wide_weight=1.0)(
        net, x, target, drawn((1, 4), steps=2, size=4), loss
    )
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
    widths = drawn((1, 4), steps=2, size=4)

    def loss(output, target):
        return (output - target).abs().pow(1.5).mean()

    with at_width(net, 1):
        narrow = net(x)
    full = net(x)
    recipe = Distilled(labels=0.0, wide_weight=1.0)
    torch.testing.assert_close(recipe(net, x, y, widths, loss), loss(full, y) + loss(narrow, y))
    taught = Distilled(labels=0.0, wide_weight=1.0, teach=lambda output: 2 * output)
    torch.testing.assert_close(
        taught(net, x, y, widths, loss), loss(full, y) + loss(narrow, 2 * full.detach())
    )


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


@pytest.mark.parametrize("name", NAMED)
def test_fit_knows_recipes_by_name(name):
    x, y = torch.rand(24, 5), torch.arange(24) % 3
    hidden = Width(8)
    first = MLP(5, (hidden,), 3)
    second = copy.deepcopy(first)
    options = {"epochs": 2, "batch_size": 8, "progress": False}
    fit(first, (x, y), F.cross_entropy, recipe=name, **options)
    fit(second, (x, y), F.cross_entropy, recipe=NAMED[name], **options)
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
        def __call__(self, model, x, y, widths, loss, progress=0.0):
            told.append((self.sampler, progress))
            return super().__call__(model, x, y, widths, loss, progress)

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
        ({"labels": 1.5}, ValueError, r"labels must lie in \[0, 1\], got 1.5"),
        ({"weight": -1}, ValueError, "weight must be a finite number of at least 0, got -1"),
        ({"wide_rows": 2}, ValueError, r"wide_rows must lie in \[0, 1\], got 2"),
        ({"teach": 3}, TypeError, "teach must be callable on an output, or None, got 3"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        Distilled(**options)


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
