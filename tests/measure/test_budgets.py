"""Which width a budget affords; what widths cost is tested in `test_costs`."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vsnn_lab import MLP, VariableLinear, Width, at_width, extract, width_sweep
from vsnn_lab.measure import Latency, budgets
from vsnn_lab.measure.ablation import WidthSweep
from vsnn_lab.measure.budgets import choose_width, choose_widths

WIDTHS = np.array([1, 2, 4, 8])
X = torch.zeros(2, 5)


def swept(values, name="accuracy"):
    """Pretend to have swept a network of 7 * width + 1 parameters."""
    costs = {"parameters": 7 * WIDTHS + 1, "macs": 6 * WIDTHS}
    times = np.array([3.0, 5.0, 1.0, 2.0])
    return WidthSweep(name, WIDTHS, np.array(values), steps=8, **costs, latency_ms=times)


@pytest.fixture
def sweep():
    return swept([0.5, 0.8, 0.7, 0.9])


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"min_metric": 0.5}, 1),
        ({"min_metric": 0.65}, 2),
        ({"min_metric": 0.85}, 8),
        ({"max_parameters": 8}, 1),
        ({"max_parameters": 28}, 2),
        ({"max_parameters": 29}, 4),
        ({"max_parameters": 1e9}, 8),
        ({"max_macs": 24}, 4),
        ({"max_macs": 23.9}, 2),
        ({"max_parameters": 29, "max_macs": 12}, 2),
        ({"max_parameters": 15, "max_macs": 48}, 2),
        ({"min_metric": 0.65, "max_parameters": 57, "max_macs": 48}, 2),
        ({"max_latency_ms": 2.5}, 8),
        ({"max_latency_ms": 2.0}, 8),
        ({"max_latency_ms": 1.9}, 4),
        ({"min_metric": 0.65, "max_latency_ms": 2.5}, 4),
        ({"max_parameters": 30, "max_latency_ms": 2.5}, 4),
    ],
)
def test_a_goal_takes_the_smallest_width_and_a_budget_alone_the_largest(sweep, asked, expected):
    assert choose_width(sweep, **asked) == expected


def test_of_a_loss_less_is_better():
    losses = swept([3.0, 2.0, 1.0, float("nan")], "mse")
    assert choose_width(losses, max_metric=2.0) == 2
    assert choose_width(losses, max_metric=1.9) == 4


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"min_metric": 0.95},
            r"no swept width reaches min_metric=0\.95: width 8 comes nearest, with accuracy 0\.9, "
            r"0\.05 short; ease the goal",
        ),
        (
            {"max_metric": 0.25},
            r"reaches max_metric=0\.25: width 1 .* accuracy 0\.5, 0\.25 over",
        ),
        (
            {"max_parameters": 6},
            r"no width meets max_parameters=6: width 1 comes nearest, with 8 parameters, 2 over "
            r"max_parameters=6; raise the budget",
        ),
        (
            {"min_metric": 0.85, "max_parameters": 50, "max_macs": 40},
            r"min_metric=0\.85, .*: width 8 .* 57 parameters, 7 over max_parameters=50 and "
            r"48 multiply-accumulates, 8 over max_macs=40;",
        ),
        (
            {"max_latency_ms": 0.75},
            r"max_latency_ms=0\.75: width 4 comes nearest, with 1 ms, 0\.25 over max_latency_ms",
        ),
    ],
)
def test_where_nothing_fits_the_nearest_width_and_what_it_lacks_are_named(sweep, asked, message):
    with pytest.raises(ValueError, match=message):
        choose_width(sweep, **asked)


BARE = WidthSweep("accuracy", WIDTHS, np.ones(4), steps=8)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"sweep": [0.5]}, TypeError, r"sweep must be a WidthSweep, got \[0\.5\]; width_sweep"),
        ({}, ValueError, "must get one goal, a budget or both, got none; pass min_metric"),
        ({"min_metric": 1, "max_metric": 2}, ValueError, "one goal, .* got {'min_metric': 1, "),
        ({"min_metric": True}, TypeError, "min_metric must be a number, got True"),
        ({"max_macs": float("nan")}, TypeError, "max_macs must be a number, got nan; None"),
        ({"max_macs": 0}, ValueError, "max_macs must be positive, got 0"),
        ({"max_macs": 9, "sweep": BARE}, ValueError, "sweep must hold macs, got none; width_sweep"),
        ({"max_latency_ms": 9, "sweep": BARE}, ValueError, "hold latency_ms, .* with timed="),
    ],
)
def test_a_choice_that_cannot_be_made_is_refused(sweep, changed, error, message):
    with pytest.raises(error, match=message):
        choose_width(**{"sweep": sweep} | changed)


def test_of_a_real_sweep_the_dearest_width_within_the_budget_is_chosen():
    net = MLP(5, (Width(8),), 1)
    data = X, torch.zeros(2, 1)
    sweep = width_sweep(net, F.mse_loss, data, timed=X, progress=False)
    assert choose_width(sweep, max_parameters=7 * 5 + 1) == 5
    assert choose_width(sweep, max_macs=6 * 4 - 1) == 3
    assert choose_width(sweep, max_latency_ms=1e6) == 8


class Branches(nn.Module):
    """Two prefix codes side by side: what each unit is worth does not depend on the others."""

    def __init__(self, left, right):
        super().__init__()
        self.sizes = len(left), len(right)
        self.axes = [Width(size) for size in self.sizes]
        self.down = nn.ModuleList(VariableLinear(a.max_width, a, bias=False) for a in self.axes)
        self.up = nn.ModuleList(VariableLinear(a, a.max_width, bias=False) for a in self.axes)
        for layer, worth in zip([*self.down, *self.up], [left, right] * 2, strict=True):
            layer.weight = nn.Parameter(torch.tensor(worth).sqrt().diag())

    def forward(self, x):
        """Return the kept part of x, each half weighted by its worth."""
        parts = x.split(self.sizes, 1)
        return torch.cat(
            [up(down(p)) for p, down, up in zip(parts, self.down, self.up, strict=True)], 1
        )


def losses_of_pairs(model, axes, data, cost, limit):
    """Search every affordable pair of widths, in the extracted networks."""
    x, y = data
    losses = {}
    for a, b in itertools.product(*(range(1, axis.max_width + 1) for axis in axes)):
        if cost(a, b) <= limit:
            cut = extract(model, {axes[0].control: a, axes[1].control: b}).eval()
            losses[a, b] = F.mse_loss(cut(x), y).item()
    return losses


def branches(units):
    """Return a network of branches whose units are worth less and less, and its data."""
    worth = [0.9**i for i in range(units)], [0.97 * 0.8**i for i in range(units)]
    x = torch.eye(2 * units)
    return Branches(*worth), (x, x @ torch.tensor(worth[0] + worth[1]).diag())


@pytest.mark.parametrize("units_kept", [2, 3, 7, 12, 21, 29])
def test_where_units_are_worth_less_and_less_greedy_finds_the_best_of_all_pairs(units_kept):
    model, data = branches(units=15)
    limit = units_kept * 2 * 15 + 1
    losses = losses_of_pairs(model, model.axes, data, lambda a, b: 2 * 15 * (a + b), limit)
    best = min(losses, key=losses.get)
    for budget in ({"max_parameters": limit}, {"max_macs": limit, "inputs": data[0][:2]}):
        chosen = choose_widths(model, F.mse_loss, data, progress=False, **budget)
        assert tuple(chosen[axis.control] for axis in model.axes) == best


@pytest.mark.parametrize("units_kept", [2, 11, 40, 63])
def test_long_strides_are_refined_until_the_budget_is_used_up(units_kept):
    model, data = branches(units=40)
    limit = units_kept * 2 * 40 + 1
    losses = losses_of_pairs(model, model.axes, data, lambda a, b: 2 * 40 * (a + b), limit)
    chosen = choose_widths(model, F.mse_loss, data, max_parameters=limit, progress=False)
    pair = tuple(chosen[axis.control] for axis in model.axes)
    assert sum(pair) == units_kept
    assert losses[pair] <= 1.1 * min(losses.values())


@pytest.fixture(scope="module")
def trained():
    """A small network trained at random pairs of widths on a random network's outputs."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        axes = Width(12), Width(10)
        model, target = MLP(4, axes, 3, nn.Tanh), MLP(4, (16, 16), 3, nn.Tanh)
        x = torch.randn(256, 4)
        y = target(x).detach() * 4
        adam = torch.optim.Adam(model.parameters(), 1e-2)
        for pair in zip(torch.randint(1, 13, (400,)), torch.randint(1, 11, (400,)), strict=True):
            widths = {axis.control: int(at) for axis, at in zip(axes, pair, strict=True)}
            with at_width(model, widths):
                adam.zero_grad()
                F.mse_loss(model(x), y).backward()
                adam.step()
    return model, axes, (x, y)


@pytest.mark.parametrize("limit", [20, 60, 110, 170])
def test_of_a_trained_network_the_choice_is_affordable_and_close_to_the_best(trained, limit):
    model, axes, data = trained

    def cost(a, b):
        return (4 + 1) * a + (a + 1) * b + (b + 1) * 3

    losses = losses_of_pairs(model, axes, data, cost, limit)
    chosen = choose_widths(model, F.mse_loss, data, max_parameters=limit, progress=False)
    pair = tuple(chosen[axis.control] for axis in axes)
    assert cost(*pair) <= limit
    assert losses[pair] <= 1.15 * min(losses.values())


@pytest.fixture
def clock(monkeypatch):
    """Times that depend on the widths alone, but for those that a test puts first."""
    asked, first = [], []

    def time(model, positions, inputs, *, repeats, threads):
        asked.append((dict(positions), threads))
        ms = first.pop(0) if first else sum(positions.values()) / 10
        return Latency(ms, ms, ms, 1, len(inputs), "cpu")

    monkeypatch.setattr(budgets, "measure_latency", time)
    return SimpleNamespace(asked=asked, first=first)


@pytest.mark.parametrize("units_kept", [2, 7, 21, 29])
def test_a_budget_of_time_is_met_by_the_best_pair_of_that_time(clock, units_kept):
    model, data = branches(units=15)
    limit = units_kept * 2 * 15 + 1
    losses = losses_of_pairs(model, model.axes, data, lambda a, b: 2 * 15 * (a + b), limit)
    budget = {"max_latency_ms": units_kept / 10, "inputs": data[0][:2], "threads": 3}
    chosen = choose_widths(model, F.mse_loss, data, progress=False, **budget)
    assert tuple(chosen[axis.control] for axis in model.axes) == min(losses, key=losses.get)
    assert clock.asked[-2:] == [(chosen, 3)] * 2, "timed twice"


def test_of_several_budgets_all_are_met(clock):
    model, data = branches(units=15)
    budget = {"max_latency_ms": 2.0, "max_parameters": 2 * 15 * 12 + 1, "inputs": data[0][:2]}
    chosen = choose_widths(model, F.mse_loss, data, progress=False, **budget)
    assert sum(chosen.values()) == 12
    budget |= {"max_latency_ms": 1.0}
    chosen = choose_widths(model, F.mse_loss, data, progress=False, **budget)
    assert sum(chosen.values()) == 10


def test_one_knob_is_lowered_until_its_cut_meets_the_time(clock):
    net = MLP(5, (Width(8),), 1)
    data = X, torch.zeros(2, 1)
    chosen = choose_widths(net, F.mse_loss, data, max_latency_ms=0.55, inputs=X, progress=False)
    assert list(chosen.values()) == [5]


def test_a_time_that_is_not_met_again_is_not_taken(clock):
    net, data = MLP(5, (Width(8),), 1), (X, torch.zeros(2, 1))
    # Narrowest twice; full width; 7 seems fast enough once, not again.
    clock.first += [0.1, 0.1, 0.8, 0.5, 0.7]
    chosen = choose_widths(net, F.mse_loss, data, max_latency_ms=0.55, inputs=X, progress=False)
    assert list(chosen.values()) == [5]


def test_a_time_that_no_width_meets_in_the_end_is_refused(clock):
    net, data = MLP(5, (Width(2),), 1), (X, torch.zeros(2, 1))
    clock.first += [0.1, 0.1, 0.8, 0.6]
    with pytest.raises(ValueError, match=r"max_latency_ms=0\.5: every knob at 1 .* 0\.6 ms, 0\.1"):
        choose_widths(net, F.mse_loss, data, max_latency_ms=0.5, inputs=X, progress=False)


def test_more_of_an_accuracy_is_better_and_data_are_read_once():
    model = Branches([1.0, 1.0, 1.0, 1.0], [1.0, 0.1, 0.1, 0.1])
    left, right = (axis.control for axis in model.axes)
    x = torch.eye(8)
    budget = {"max_parameters": 8 * 5, "progress": False}
    stream = (pair for pair in [(x[:4], x[:4]), (x[4:], x[4:])])

    def likeness(output, target):
        return (output * target).sum(1).mean()

    found = choose_widths(model, likeness, stream, higher_is_better=True, **budget)
    assert found == {left: 4, right: 1}
    assert choose_widths(model, likeness, (x, x), **budget) == {left: 1, right: 4}


def test_a_search_leaves_model_knobs_and_random_state_as_they_were(global_state_kept):
    with torch.random.fork_rng():
        model = nn.Sequential(MLP(5, (Width(8), Width(4)), 2), nn.Dropout(), nn.BatchNorm1d(2))
    model[2].eval()
    first, second = model[0][0].out_axis.control, model[0][2].out_axis.control
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    with at_width(model, {first: 3}):
        choose_widths(
            model, F.mse_loss, (torch.ones(4, 5), torch.ones(4, 2)), max_macs=30, inputs=X
        )
        assert (first.position, second.position) == (3, 4)
    assert [m.training for m in model] == [True, True, False]
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


@pytest.fixture
def net():
    """A network of 7 * width + 1 parameters and 6 * width multiply-accumulates."""
    return MLP(5, (Width(8),), 1)


def test_a_budget_that_the_full_width_meets_needs_no_data(net):
    chosen = choose_widths(net, F.mse_loss, [], max_parameters=57)
    assert list(chosen.values()) == [8]


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"model": nn.Linear(5, 1)}, ValueError, "model must have a variable axis, got none"),
        ({"metric": "mse"}, TypeError, r"metric must be callable on .*, got 'mse'"),
        ({"max_parameters": None}, ValueError, "choose_widths must get a budget, got none"),
        ({"max_macs": 9}, TypeError, "inputs must be a tensor of shape .*, got None"),
        ({"max_latency_ms": 9}, TypeError, "inputs must be a tensor of shape .*, got None"),
        ({"threads": 2}, ValueError, "threads must be None without max_latency_ms, got 2"),
        (
            {"max_latency_ms": 1, "inputs": X, "threads": 0},
            ValueError,
            r"threads must lie in 1\.\.1024, got 0",
        ),
        (
            {"max_latency_ms": 1e-9, "inputs": X},
            ValueError,
            "max_latency_ms=1e-09: every knob at 1 comes nearest, with .* ms, .* over",
        ),
        (
            {"max_parameters": 7},
            ValueError,
            "no width meets max_parameters=7: every knob at 1 comes nearest, with 8 parameters, 1",
        ),
        ({"batches": []}, ValueError, "batches must hold at least one sample, got none"),
    ],
)
def test_a_search_that_cannot_succeed_is_refused(net, changed, error, message):
    asked = {"model": net, "metric": F.mse_loss, "batches": (X, X[:, :1]), "max_parameters": 20}
    with pytest.raises(error, match=message):
        choose_widths(**asked | changed)
