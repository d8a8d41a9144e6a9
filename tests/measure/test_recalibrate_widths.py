"""Statistics for every position of a knob: each width is evaluated, and cut, by its own."""

import copy
import pickle

import pytest
import torch
from torch import nn

from vsnn_lab import (
    MLP,
    Width,
    WidthControl,
    at_width,
    condition,
    condition_norms,
    extract,
    fit,
    forward_at_widths,
    load_weights,
    make_variable,
    recalibrate,
    recalibrate_widths,
    save_weights,
)
from vsnn_lab.layers import VariableBatchNorm1d, VariableLinear
from vsnn_lab.layers.octaves import group_of
from vsnn_lab.layers.position_statistics import PositionStatistics

STEPS = 6
MADE = {"plain": lambda model: None, "gains": condition_norms, "weights": condition}


@pytest.fixture
def images():
    return 1 + 3 * torch.randn(32, 1, 6, 6)


def moved(made="plain"):
    """A network with norms on the knob and one of a fixed size, as training leaves it."""
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(),
        nn.Conv2d(12, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Flatten(), nn.Linear(144, 3), nn.BatchNorm1d(3),
    )  # fmt: skip
    knobs = {"*": WidthControl(STEPS, rounded=True)}
    model = make_variable(net, torch.zeros(2, 1, 6, 6), knobs=knobs)
    MADE[made](model)
    with torch.no_grad():
        for each in model.parameters():
            each.add_(0.1 * torch.randn_like(each))
    return model.eval()


def norms(model):
    return [module for module in model.modules() if isinstance(module, PositionStatistics)]


@torch.no_grad()
def outputs(model, x, width):
    with at_width(model, width):
        return model(x)


@pytest.mark.parametrize("made", MADE)
def test_each_width_computes_what_it_does_recalibrated_alone_and_so_does_its_cut(made, images):
    model = moved(made)
    alone = []
    for width in range(1, STEPS + 1):
        one = copy.deepcopy(model)
        recalibrate(one, [images], width)
        alone.append(outputs(one, images, width))
    shared = {k: v for k, v in copy.deepcopy(model.state_dict()).items() if "running" in k}
    recalibrate_widths(model, [images])
    assert len(norms(model)) == 3
    for width, expected in enumerate(alone, 1):
        found = outputs(model, images, width)
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
        cut = extract(model, width)
        assert {type(each) for each in cut.modules()} >= {nn.BatchNorm2d, nn.BatchNorm1d}
        assert not any("position" in key for key in cut.state_dict())
        torch.testing.assert_close(cut(images), found)
    for name, value in shared.items():
        assert torch.equal(model.state_dict()[name], value), "those of all widths stay"


@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize("per", ["position", "octave"])
def test_a_width_for_each_sample_computes_what_each_width_does(made, per, images):
    model = moved(made)
    recalibrate_widths(model, [images], per)
    widths = torch.arange(len(images)) % STEPS + 1
    expected = torch.stack(
        [outputs(model, images, int(width))[row] for row, width in enumerate(widths)]
    )
    torch.testing.assert_close(outputs(model, images, widths), expected)
    with torch.no_grad():
        torch.testing.assert_close(forward_at_widths(model, images, widths), expected)


def test_an_octave_shares_the_statistics_of_its_widest(images):
    model = moved()
    recalibrate_widths(model, [images], "octave")
    assert norms(model)[0].position_tops == (1, 2, 4, 5)
    one = copy.deepcopy(model)
    recalibrate_widths(one, [images])
    for width, top in {1: 1, 3: 4, 5: 5, 6: 6}.items():
        of_octave, own = norms(model)[2], norms(one)[2]
        group = group_of(width, of_octave.position_tops)
        assert torch.equal(of_octave.position_mean[group], own.position_mean[top - 1])


def test_a_step_of_training_takes_them_off_and_nothing_else(images):
    model = moved()
    state, kinds = {*model.state_dict()}, [type(module) for module in model.modules()]
    recalibrate_widths(model, [images])
    assert {*model.state_dict()} > state
    model.train()(images)
    assert not norms(model)
    assert {*model.state_dict()} == state
    assert [type(module) for module in model.modules()] == kinds
    recalibrate_widths(model, [images])
    fit(model, (images, torch.zeros(len(images), dtype=torch.long)), nn.functional.cross_entropy,
        epochs=1, validation=None, progress=False)  # fmt: skip
    assert not norms(model)


def test_recalibrating_one_width_changes_that_one_alone(images):
    model, other = moved(), 5 * torch.randn(32, 1, 6, 6)
    recalibrate_widths(model, [images])
    before = [outputs(model, images, width) for width in range(1, STEPS + 1)]
    recalibrate(model, [other], 3)
    after = [outputs(model, images, width) for width in range(1, STEPS + 1)]
    same = [torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert same == [True, True, False, True, True, True]


def test_measured_again_they_are_those_of_the_new_batches(images):
    model, other = moved(), 5 * torch.randn(32, 1, 6, 6)
    fresh = copy.deepcopy(model)
    recalibrate_widths(model, [images], "octave")
    recalibrate_widths(model, [other])
    recalibrate_widths(fresh, [other])
    for width in (1, 4, STEPS):
        assert torch.equal(outputs(model, images, width), outputs(fresh, images, width))


def test_copies_pickles_and_files_keep_them(images, tmp_path):
    model = moved()
    recalibrate_widths(model, iter([images[:16], images[16:]]))
    save_weights(model, tmp_path / "model.safetensors")
    loaded = moved()
    with pytest.raises(ValueError, match="position_mean"):
        load_weights(loaded, tmp_path / "model.safetensors")
    recalibrate_widths(loaded, [images])
    load_weights(loaded, tmp_path / "model.safetensors")
    for same in (copy.deepcopy(model), pickle.loads(pickle.dumps(norms(model)[0])), loaded):
        found = same if isinstance(same, PositionStatistics) else norms(same)[0]
        assert torch.equal(found.position_mean, norms(model)[0].position_mean)
        assert type(found) is type(norms(model)[0])
    for width in (1, 4):
        assert torch.equal(outputs(loaded, images, width), outputs(model, images, width))


def test_a_network_without_batch_norm_stays_as_it_is():
    model = MLP(3, (Width(4),), 2)
    before = copy.deepcopy(model.state_dict())
    recalibrate_widths(model, [torch.randn(8, 3)])
    assert before.keys() == model.state_dict().keys()


class OwnNorm(nn.BatchNorm1d):
    pass


def one_norm(norm, hidden=None):
    hidden = hidden or Width(4)
    return nn.Sequential(VariableLinear(3, hidden), norm(hidden))


@pytest.mark.parametrize(
    ("make", "arguments", "error", "message"),
    [
        (lambda: nn.BatchNorm1d(3), {}, ValueError, "must"),
        (lambda: one_norm(VariableBatchNorm1d), {"per": "width"}, ValueError, "per must be one of"),
        (lambda: one_norm(VariableBatchNorm1d), {"batches": torch.ones(8)}, TypeError, "batches"),
        (lambda: one_norm(VariableBatchNorm1d), {"batches": []}, ValueError, "at least one batch"),
        (lambda: one_norm(VariableBatchNorm1d), {"progress": 2}, TypeError, "progress must"),
        (
            lambda: nn.Sequential(VariableLinear(3, Width(4)), OwnNorm(4)), {}, TypeError,
            "of torch's own classes, got OwnNorm",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_refused_and_nothing_is_left(make, arguments, error, message):
    model = make()
    state = {*model.state_dict()}
    with pytest.raises(error, match=message):
        recalibrate_widths(model, **{"batches": [torch.randn(8, 3)]} | arguments)
    assert {*model.state_dict()} == state
    assert not norms(model)


def test_several_knobs_are_refused():
    model = nn.Sequential(VariableLinear(3, Width(4)), VariableBatchNorm1d(Width(4)))
    with pytest.raises(ValueError, match="one knob"):
        recalibrate_widths(model, [torch.randn(8, 3)])
