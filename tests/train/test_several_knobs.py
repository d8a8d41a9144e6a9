"""Networks with several knobs: what is drawn for each, what a step trains, how a run resumes."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.small import regression
from tests.train.test_resume import STEPS, Interrupting, rows, run, weights
from vsnn_lab import (
    MLP,
    Distilled,
    EachOctave,
    LogUniform,
    Phases,
    Sampled,
    Sandwich,
    Stratified,
    Uniform,
    Width,
    WidthControl,
    at_width,
    extract,
    fit,
    joint_positions,
)
from vsnn_lab.train.recipes import Recipe, Step
from vsnn_lab.widths import joint_steps, width_controls


def network(sizes=(8, 6), seed: int = 3, dropout: float = 0.0) -> nn.Module:
    """Return a network with a knob for each hidden layer."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = MLP(4, tuple(Width(size) for size in sizes), 2, nn.Tanh)
        return nn.Sequential(net, nn.Dropout(dropout)) if dropout else net


def step_of(net: nn.Module, knobs: str, rows: int = 12, seed: int = 5, **more) -> Step:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 4, generator=torch.Generator().manual_seed(1)).to(
        next(net.parameters()).dtype
    )
    return Step(net, x, x[:, :2].sin() + 2, F.mse_loss, generator, knobs=knobs, **more)


def test_a_joint_draw_keeps_the_same_share_of_every_knob():
    net = network((8, 6, 3))
    drawn = step_of(net, "joint", 64).draw(Uniform())
    alone = Uniform()(64, 8, torch.Generator().manual_seed(5))
    assert list(drawn) == width_controls(net)
    for control, widths in drawn.items():
        # ceil(share * steps), in fractions that floats hold exactly.
        assert widths.equal(torch.ceil(alone / 8 * control.steps).long())


def test_joint_positions_go_from_one_to_full_width_and_one_knob_has_its_own():
    net = network((8, 6, 3))
    assert joint_steps(net) == 8
    turns = [list(joint_positions(net, position).values()) for position in range(1, 9)]
    assert (turns[0], turns[-1]) == ([1, 1, 1], [8, 6, 3])
    assert all(list(column) == sorted(column) for column in zip(*turns, strict=True))
    knob = WidthControl(3)
    alone = MLP(4, (knob.axis(6), knob.axis(9)), 2)
    assert joint_positions(alone, 2) == {knob: 2}
    with pytest.raises(ValueError, match=r"position must lie in 1\.\.8, got 9; the finest knob"):
        joint_positions(net, 9)
    with pytest.raises(ValueError, match="model must have a variable axis, got none"):
        joint_positions(nn.Linear(2, 2), 1)


@pytest.mark.parametrize("sampler", [Uniform(), Stratified(4), LogUniform(runs=3), Sandwich(2)])
def test_independent_draws_are_the_samplers_for_each_knob_and_runs_stay_whole(sampler):
    net = network((8, 6))
    first, second = width_controls(net)
    step, again = step_of(net, "independent", 48), step_of(net, "independent", 48)
    drawn = step.draw(sampler)
    generator = torch.Generator().manual_seed(5)
    for control in (first, second):
        widths = sampler(48, control.steps, generator)
        assert drawn[control].sort().values.equal(widths)
        if control is first:
            assert drawn[control].equal(widths)
        else:
            runs = len(widths.unique_consecutive())
            assert len(drawn[control].unique_consecutive()) <= runs
    repeated = again.draw(sampler)
    assert all(repeated[control].equal(widths) for control, widths in drawn.items())


def test_independent_draws_bring_all_pairs_of_widths_together():
    net = network((4, 4))
    step, pairs = step_of(net, "independent", 8), set()
    for _ in range(200):
        pairs |= {*zip(*(widths.tolist() for widths in step.draw(Uniform()).values()), strict=True)}
    assert len(pairs) == 16


@pytest.mark.parametrize("knobs", ["joint", "independent"])
def test_processes_share_what_is_drawn_for_the_whole_batch(knobs):
    net = network()
    whole = step_of(net, knobs, 12).draw(Stratified(3))
    parts = [
        step_of(net, knobs, 6, samples=range(rank, 12, 2)).draw(Stratified(3)) for rank in (0, 1)
    ]
    for control, widths in whole.items():
        assert torch.stack([part[control] for part in parts], 1).flatten().equal(widths)


def gradients(net: nn.Module, value: torch.Tensor) -> list[torch.Tensor]:
    net.zero_grad()
    value.backward()
    return [parameter.grad.clone() for parameter in net.parameters()]


def positions_of_rows(drawn) -> list[dict[WidthControl, int]]:
    columns = [widths.tolist() for widths in drawn.values()]
    return [dict(zip(drawn, row, strict=True)) for row in zip(*columns, strict=True)]


def runs_by_hand(drawn) -> list[tuple[dict[WidthControl, int], list[int]]]:
    turns = positions_of_rows(drawn)
    different = [turn for index, turn in enumerate(turns) if turn not in turns[:index]]
    return [(turn, [row for row, t in enumerate(turns) if t == turn]) for turn in different]


@pytest.mark.parametrize("knobs", ["joint", "independent"])
def test_a_sampled_step_is_each_row_at_its_own_widths(knobs):
    net = network().double()
    step, same = (step_of(net, knobs) for _ in range(2))
    found = gradients(net, sum(Sampled(Stratified(4)).losses(step)))
    outputs = []
    for row, turn in enumerate(positions_of_rows(same.draw(Stratified(4)))):
        with at_width(net, turn):
            outputs.append(net(step.x[[row]]))
    expected = gradients(net, F.mse_loss(torch.cat(outputs), step.y))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


@pytest.mark.parametrize("knobs", ["joint", "independent"])
def test_samples_at_narrow_widths_count_each_run_relative_to_the_full_loss(knobs):
    net = network().double()
    step, same = (step_of(net, knobs) for _ in range(2))
    recipe = Distilled(Stratified(3), labels=1.0, weight=0.7, relative=True)
    found = gradients(net, sum(recipe.losses(step)))
    expected = full = F.mse_loss(net(step.x), step.y)
    for turn, part in runs_by_hand(same.draw(Stratified(3), below_full=True)):
        with at_width(net, turn):
            value = F.mse_loss(net(step.x[part]), step.y[part])
        expected = expected + 0.7 * len(part) / 12 * full.detach() * value.log()
    for one, other in zip(found, gradients(net, expected), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def test_distillation_turns_all_knobs_to_one_width_of_each_octave():
    net = network((8, 6)).double()
    step = step_of(net, "joint")
    narrow = EachOctave(rows=0.75, half=1.0)
    recipe = Distilled(narrow, labels=0.5, weight=0.8)
    found = gradients(net, sum(recipe.losses(step)))
    # Of 8 positions the octaves 1, 2, 3..4 are narrow; the wider one comes in some steps.
    draws = narrow.draw(8, torch.Generator().manual_seed(5))
    assert [each.weight for each in draws[:3]] == [1 / 3] * 3
    output = net(step.x)
    expected, taught = F.mse_loss(output, step.y), output.detach()
    for width, share, weight in draws:
        first = slice(round(share * 12))
        with at_width(net, joint_positions(net, width)):
            narrowed = net(step.x[first])
        both = F.mse_loss(narrowed, step.y[first]) + F.mse_loss(narrowed, taught[first])
        expected = expected + 0.8 * weight * both / 2
    for one, other in zip(found, gradients(net, expected), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def test_what_draws_for_all_knobs_together_refuses_draws_for_each():
    phases = Phases(((0.5, Sampled()), (1.0, Distilled())))
    for recipe in (Distilled(), phases):
        with pytest.raises(
            ValueError, match=r"knobs must be 'joint' for (Distilled|Phases)\(.*, got 'i"
        ):
            run(network(), recipe=recipe, sampler=None, knobs="independent")
    with pytest.raises(ValueError, match=r"knobs must be 'joint' for Distilled\(.*, got 'indep"):
        [*Distilled().losses(step_of(network(), "independent"))]


class OneKnob(Recipe):
    """A recipe of somebody who knew networks with one knob alone."""

    def losses(self, step):
        with at_width(step.model, step.control.steps):
            yield step.loss(step.model(step.x), step.y)


def test_a_recipe_that_asks_for_the_one_knob_is_told_that_there_are_several():
    with pytest.raises(ValueError, match="model must have one knob for a single width, got 2"):
        run(network(), recipe=OneKnob(), sampler=None)


@pytest.mark.parametrize("knobs", ["joint", "independent"])
def test_training_helps_every_share_and_the_history_tells_losses_of_joint_positions(knobs):
    net = network((16, 8))
    before = copy.deepcopy(net)
    x, y = regression()
    history = fit(
        net,
        (x, y),
        F.mse_loss,
        epochs=30,
        batch_size=16,
        lr=0.02,
        sampler=Stratified(4),
        validation=(x, y),
        narrow=6,
        knobs=knobs,
        progress=False,
    )
    best = history.epochs[history.best_epoch - 1]
    for name, turn in (("full", [16, 8]), ("narrow", [6, 3])):
        cut = extract(net, dict(zip(width_controls(net), turn, strict=True))).eval()
        assert best[name] == pytest.approx(F.mse_loss(cut(x), y).item(), rel=1e-5)
    for position in (2, 6, 16):
        losses = [F.mse_loss(extract(m, joint_positions(m, position))(x), y) for m in (net, before)]
        assert losses[0] < losses[1]
    assert history.narrow_width == 6


def test_the_narrow_width_watched_is_an_eighth_of_the_finest_knob():
    assert run(network((32, 8)), epochs=1).narrow_width == 4


RECIPES = {
    "sampled": {},
    "of samples": {"sampler": None, "recipe": Distilled(Stratified(3), labels=1.0)},
}


@pytest.mark.parametrize("knobs", ["joint", "independent"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_an_interrupted_run_ends_as_if_it_had_not_been_interrupted(tmp_path, recipe, knobs):
    settings = RECIPES[recipe] | {"knobs": knobs}
    whole, broken = network(dropout=0.2), network(dropout=0.2)
    expected = run(whole, **settings)
    # In the third epoch, whichever number of losses a step has.
    losses_a_step = 1 if recipe == "sampled" else 2
    loss = Interrupting(2 * STEPS * losses_a_step + 2)
    with pytest.raises(KeyboardInterrupt, match="Ctrl-C"):
        run(broken, tmp_path, loss=loss, **settings)
    broken = network(dropout=0.2)
    history = run(broken, tmp_path, loss=loss, **settings)
    assert history.resumed_at >= 1
    assert weights(broken) == weights(whole)
    assert rows(history) == rows(expected)
    assert len(list(tmp_path.glob("*/last.safetensors"))) == 1


def test_runs_whose_draws_or_knobs_differ_do_not_share_a_checkpoint(tmp_path):
    def hidden(*numbers: int) -> nn.Module:
        """Return a network whose hidden layers stand on the knobs of these numbers."""
        axes = [Width(6) for _ in range(3)]
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return MLP(4, tuple(axes[number] for number in numbers), 2)

    def folder(model: nn.Module, knobs: str):
        return run(model, tmp_path, epochs=1, knobs=knobs).folder

    layouts = [(0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0), (0, 1, 2)]
    # No repr tells which axes share a knob.
    assert len({repr(hidden(*layout)) for layout in layouts}) == 1
    folders = [folder(hidden(*layout), "joint") for layout in layouts]
    assert len({*folders, folder(hidden(0, 1, 2), "independent")}) == 6
    assert folder(hidden(2, 1, 0), "joint") == folders[-1]
    # One knob knows no difference.
    assert folder(hidden(0, 0, 0), "independent") == folders[0]
