"""Full width, the narrowest and a random width, on every sample; and training on text."""

import copy

import pytest
import torch
from torch import nn

from vsnn_lab import (
    MLP,
    BitsPerByte,
    Distilled,
    LanguageModel,
    NarrowestAndRandom,
    Width,
    WidthControl,
    at_width,
    fit,
    forward_at_widths,
    token_cross_entropy,
)
from vsnn_lab.data import TextSet
from vsnn_lab.layers import VariableEmbedding, VariableLinear
from vsnn_lab.train.recipes import RECIPES, Step
from vsnn_lab.train.recipes.distillation import DistillationLoss, soft_target_function
from vsnn_lab.train.schedules import SCHEDULES

VOCABULARY = 9


def model(steps=4, **sizes):
    knob = WidthControl(steps)
    axes = {"heads": knob.axis(steps), "ffn": knob.axis(2 * steps)} | sizes
    return LanguageModel(VOCABULARY, layers=1, width=8, head_dim=2, **axes)


def batch(rows=3, length=5):
    tokens = torch.randint(VOCABULARY, (rows, length + 1))
    return tokens[:, :-1], tokens[:, 1:]


def text(size=400):
    """A text in which each token is followed by the next one."""
    blocks = {name: [torch.arange(size) % VOCABULARY] * 2 for name in ("train", "validation")}
    return TextSet("counting", None, blocks, torch.ones(VOCABULARY))


def turned(recipe, net, generator, knobs="joint"):
    """Return where the knobs stood in each forward of a step, and its losses."""
    noted = []
    hook = net.register_forward_pre_hook(
        lambda module, inputs: noted.append([knob.position for knob in knobs_of(net)])
    )
    x, y = batch()
    step = Step(net, x, y, token_cross_entropy, generator, knobs=knobs)
    losses = [*recipe.losses(step)]
    hook.remove()
    return noted, losses


def knobs_of(net):
    from vsnn_lab.widths import width_controls

    return width_controls(net)


def test_a_step_is_full_width_the_narrowest_and_random_ones_in_between(generator):
    drawn = set()
    for _ in range(40):
        noted, losses = turned(Distilled(NarrowestAndRandom(inner=2)), model(6), generator)
        assert [position for (position,) in noted[:2]] == [6, 1]
        assert len(noted) == len(losses) == 4
        drawn |= {position for (position,) in noted[2:]}
    assert drawn == {2, 3, 4, 5}


def test_the_narrower_half_is_drawn_in_every_step_and_the_wider_in_a_share_of_them(generator):
    narrow = NarrowestAndRandom(wide_share=0.25)

    def draw(steps):
        return [each.position for each in narrow.draw(steps, generator)]

    draws = [draw(6) for _ in range(400)]
    assert {widths[0] for widths in draws} == {1}
    assert {widths[1] for widths in draws} == {2, 3}
    wide = [widths[2] for widths in draws if len(widths) == 3]
    assert {*wide} == {4, 5}
    assert abs(len(wide) / 400 - 0.25) < 0.1
    assert [draw(steps) for steps in (1, 2, 3)] == [[], [1], [1, 2]]
    halves = {width for _ in range(400) for width in draw(9)[1:2]}
    assert halves == {2, 3, 4, 5}


def test_a_knob_of_two_positions_has_nothing_in_between(generator):
    noted, _ = turned(Distilled(NarrowestAndRandom()), model(2), generator)
    assert noted == [[2], [1]]


def test_inner_widths_are_drawn_for_each_of_several_knobs(generator):
    drawn = set()
    for _ in range(60):
        net = model(2, heads=Width(3))
        noted, _ = turned(Distilled(NarrowestAndRandom()), net, generator, "independent")
        assert noted[:2] == [[3, 2], [1, 1]]
        drawn.add(tuple(noted[2]))
    assert drawn == {(a, b) for a in (1, 2, 3) for b in (1, 2)}


def test_the_loss_is_that_of_labels_and_of_full_widths_softmax_by_hand(generator):
    net, (x, y) = model(3).double(), batch()
    recipe = Distilled(NarrowestAndRandom(), labels=0.3, weight=0.5, final_weight=1.5)
    losses = [*recipe.losses(Step(net, x, y, token_cross_entropy, generator, progress=0.25))]

    def labelled(output):
        return -output.log_softmax(-1).gather(-1, y.unsqueeze(-1)).mean()

    full = net(x)
    torch.testing.assert_close(losses[0], labelled(full))
    for value, width in zip(losses[1:], (1, 2), strict=True):
        with at_width(net, width):
            output = net(x)
        told = -(full.detach().softmax(-1) * output.log_softmax(-1)).sum(-1).mean()
        torch.testing.assert_close(value, 0.75 * (0.3 * labelled(output) + 0.7 * told))


def test_full_width_learns_nothing_of_what_it_teaches(generator):
    net, (x, y) = model(2), batch()
    _, narrow = Distilled(NarrowestAndRandom(), labels=0.0).losses(
        Step(net, x, y, token_cross_entropy, generator)
    )
    narrow.backward()
    assert net.norm.gain.grad[0].abs().sum() > 0
    assert not net.norm.gain.grad[1].any()


def test_soft_targets_of_tokens_come_from_the_last_dimension():
    output = torch.randn(2, 3, 5)
    soft = soft_target_function(token_cross_entropy)(output)
    torch.testing.assert_close(soft.sum(-1), torch.ones(2, 3))
    y = torch.randint(5, (2, 3))
    loss = DistillationLoss(
        token_cross_entropy, output, y, 0.4, soft_target_function(token_cross_entropy)
    )
    other = torch.randn(2, 3, 5)
    expected = 0.4 * token_cross_entropy(other, y) + 0.6 * token_cross_entropy(other, soft)
    torch.testing.assert_close(loss(other), expected)
    assert len(loss.targets) == 1  # one pass over the classes, not two


def test_a_classifier_is_trained_by_the_same_recipe():
    x = torch.randn(64, 4)
    y = (x[:, 0] > 0).long()
    net = MLP(4, (Width(8),), 2)
    history = fit(
        net, (x, y), nn.functional.cross_entropy, epochs=30, lr=0.02, batch_size=16,
        recipe="sandwich-distilled", progress=False,
    )  # fmt: skip
    assert history.epochs[-1]["full"] < 0.3
    assert history.epochs[-1]["narrow"] < 0.4


def test_a_language_model_learns_to_count_at_every_width():
    data, net = text(), model()
    held_out = data.windows("validation", 12)
    batches = data.batches(12, batch_size=8, steps=60)
    history = fit(
        net, batches, token_cross_entropy, epochs=2, lr=0.02, recipe=RECIPES["sandwich-distilled"],
        validation=held_out, clip=1.0, schedule="cosine", progress=False,
    )  # fmt: skip
    assert history.epochs[-1]["full"] < 0.1
    for width in (1, 2, 4):
        with at_width(net, width), torch.no_grad():
            assert BitsPerByte(1.0)(net(held_out[0]), held_out[1]) < 0.5


class Stopping:
    """Batches of text that end in an interruption, once, in some epoch."""

    def __init__(self, batches, epoch):
        self.batches, self.epoch, self.data_fingerprint = batches, epoch, "counting"

    def set_epoch(self, epoch):
        self.at = epoch
        self.batches.set_epoch(epoch)

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        for batch in self.batches:
            yield batch
            if self.at == self.epoch:
                raise KeyboardInterrupt


def test_a_run_on_text_goes_on_where_it_was_stopped(tmp_path):
    data, first = text(), model()

    def train(epoch, checkpoint):
        net = copy.deepcopy(first)
        batches = Stopping(data.batches(6, batch_size=4, steps=3), epoch)
        history = fit(
            net, batches, token_cross_entropy, epochs=3, recipe="sandwich-distilled",
            validation=data.windows("validation", 6), checkpoint=checkpoint, clip=0.5,
            accumulate=2, progress=False,
        )  # fmt: skip
        return net, history

    with pytest.raises(KeyboardInterrupt):
        train(2, tmp_path)
    resumed, history = train(None, tmp_path)
    assert history.resumed_at == 2
    whole, _ = train(None, None)
    for one, other in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(one, other)


def test_batches_of_text_are_known_again(tmp_path):
    data = text()
    for seen in (0, 1):
        torch.manual_seed(0)
        history = fit(
            model(), data.batches(6, batch_size=4, steps=2), token_cross_entropy, epochs=1,
            recipe="sandwich-distilled", validation=None, checkpoint=tmp_path, progress=False,
        )  # fmt: skip
        assert history.resumed_at == seen


def sums(net, batches, **options):
    x = torch.cat([x for x, _ in batches])
    y = torch.cat([y for _, y in batches])
    return fit(net, [(x, y)], nn.functional.mse_loss, schedule="constant", validation=None,
               progress=False, epochs=1, **options)  # fmt: skip


def test_accumulated_batches_make_the_step_of_all_of_them():
    batches = [(torch.randn(4, 3), torch.randn(4, 2)) for _ in range(2)]
    one = nn.Linear(3, 2).double()
    batches = [(x.double(), y.double()) for x, y in batches]
    other = copy.deepcopy(one)
    fit(one, batches, nn.functional.mse_loss, schedule="constant", validation=None,
        progress=False, epochs=1, accumulate=2)  # fmt: skip
    sums(other, batches)
    torch.testing.assert_close(one.weight, other.weight)


@pytest.mark.parametrize(("batches", "accumulate", "steps"), [(5, 2, 3), (4, 2, 2), (3, 5, 1)])
def test_what_an_epoch_ends_with_makes_a_step_too(batches, accumulate, steps):
    net = nn.Linear(3, 2)
    pairs = [(torch.randn(4, 3), torch.randn(4, 2))] * batches
    taken = []
    original = torch.optim.Adam.step

    def counted(self, *arguments, **options):
        taken.append(1)
        return original(self, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", counted)
        fit(net, pairs, nn.functional.mse_loss, epochs=2, accumulate=accumulate,
            validation=None, progress=False)  # fmt: skip
    assert len(taken) == 2 * steps


def test_gradients_longer_than_the_clip_are_shortened_to_it():
    net = nn.Linear(3, 2, bias=False)
    seen = []
    original = torch.optim.Adam.step

    def noted(self, *arguments, **options):
        seen.append(float(net.weight.grad.norm()))
        return original(self, *arguments, **options)

    pairs = [(torch.randn(4, 3), 100 * torch.randn(4, 2))] * 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", noted)
        fit(net, pairs, nn.functional.mse_loss, epochs=1, clip=0.5, validation=None,
            progress=False)  # fmt: skip
    assert seen == pytest.approx([0.5, 0.5], rel=1e-4)


def test_forwards_in_bfloat16_leave_weights_as_they_are():
    net, seen = model(2), []
    net.layers[0].mlp.down_proj.register_forward_hook(lambda _, __, y: seen.append(y.dtype))
    data = text()
    history = fit(
        net, data.batches(5, batch_size=4, steps=2), token_cross_entropy, epochs=1,
        recipe="sandwich-distilled", validation=None, precision="bf16", progress=False,
    )  # fmt: skip
    assert set(seen) == {torch.bfloat16}
    assert {weight.dtype for weight in net.parameters()} == {torch.float32}
    assert history.epochs[0]["train_loss"] > 0


def test_a_cosine_rises_and_falls_to_nothing():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = SCHEDULES["cosine"](optimizer, 40)
    rates = []
    for _ in range(40):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[:2] == [1.0, 2.0]
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accumulate": 0}, "accumulate must be at least 1, got 0"),
        ({"clip": 0}, "clip must be above 0, or None, got 0"),
        ({"clip": -1}, "clip must be a finite number of at least 0, got -1"),
        ({"precision": "fp8"}, r"precision must be .*bf16"),
        ({"schedule": "linear"}, r"schedule must be .*cosine"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        fit(nn.Linear(2, 2), (torch.zeros(4, 2),) * 2, nn.functional.mse_loss, **options)


def chain():
    width = Width(4)
    return nn.Sequential(
        VariableEmbedding(VOCABULARY, width), VariableLinear(width, width), nn.ReLU(),
        VariableLinear(width, 2),
    )  # fmt: skip


def test_it_is_tokens_that_decide_between_slices_and_masks(calls):
    net, widths = chain(), torch.tensor([1, 4])
    forward_at_widths(net, torch.zeros(2, 64, dtype=torch.long), widths)
    layer = net[1]
    assert len([1 for module, *_ in calls if module is layer]) == 2  # slices
    calls.clear()
    forward_at_widths(net, torch.zeros(2, 63, dtype=torch.long), widths)
    assert len([1 for module, *_ in calls if module is layer]) == 1  # masks
    calls.clear()
    forward_at_widths(net[1:], torch.zeros(2, 64, 4), widths)
    assert len([1 for module, *_ in calls if module is layer]) == 2
    calls.clear()
    flat = nn.Sequential(nn.Flatten(), VariableLinear(64 * 4, Width(4)))
    forward_at_widths(flat, torch.zeros(2, 64, 4), widths)
    assert len([1 for module, *_ in calls if module is flat[1]]) == 1
