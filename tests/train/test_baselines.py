import copy
import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vsnn_lab import MLP, Width, data, fit
from vsnn_lab.data.batches import seed_from
from vsnn_lab.train.baselines import PCAAE, dedicated, pca_errors, train_pcaae
from vsnn_lab.train.baselines.pcaae import _stage_loss
from vsnn_lab.train.loop import Loop


@pytest.fixture(scope="module")
def digits() -> torch.Tensor:
    return data.load("digits").images[:640]


@pytest.fixture(scope="module")
def held_out() -> torch.Tensor:
    return data.load("digits", "test").images


def regression(rows: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(rows, 4, generator=torch.Generator().manual_seed(1))
    return x, x[:, :2].sin()


def build(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Dropout(0.1), nn.Linear(width, 2))


TEST = regression(7)
SMALL = {"epochs": 2, "batch_size": 16, "progress": False}


@pytest.fixture
def steps(monkeypatch) -> list[nn.Module]:
    """The networks of all training steps, in order."""
    taken = []
    step = Loop._step

    def counted(self, *arguments):
        taken.append(self.state[0])
        return step(self, *arguments)

    monkeypatch.setattr(Loop, "_step", counted)
    return taken


def interrupt(monkeypatch, step: int) -> None:
    """Let a person press Ctrl-C at a training step, counted from 1."""
    whole, count = Loop._step, itertools.count(1)

    def interrupted(self, *arguments):
        if next(count) == step:
            raise KeyboardInterrupt("Ctrl-C")
        return whole(self, *arguments)

    monkeypatch.setattr(Loop, "_step", interrupted)


@pytest.mark.usefixtures("global_state_kept")
def test_dedicated_networks_are_those_of_a_loop_over_widths():
    sweep = dedicated(build, regression(), F.mse_loss, [4, 1], TEST, seed=5, lr=0.01, **SMALL)
    values, parameters = [], []
    for width in (1, 4):
        with torch.random.fork_rng():
            torch.manual_seed(seed_from(5, width))
            model = build(width)
        fit(model, regression(), F.mse_loss, seed=5, lr=0.01, **SMALL)
        with torch.no_grad():
            values.append(F.mse_loss(model.eval()(TEST[0]), TEST[1]).item())
        parameters.append(4 * width + width + width * 2 + 2)
    np.testing.assert_allclose(sweep.values, values, rtol=1e-6)
    assert sweep.widths.tolist() == [1, 4]
    assert sweep.parameters.tolist() == parameters
    assert (sweep.metric, sweep.steps) == ("mse_loss", 4)
    assert sweep.cost("parameters", 4) == 30


def test_dedicated_networks_are_measured_by_a_metric_of_its_own():
    def largest(output, target):
        return (output - target).abs().max()

    arguments = (build, regression(), F.mse_loss, [3], TEST)
    sweep = dedicated(*arguments, metric=largest, **SMALL)
    assert sweep.metric == "largest"
    assert sweep.at(3) > dedicated(*arguments, **SMALL).at(3) ** 0.5


def test_a_seed_gives_its_own_dedicated_networks_whatever_torchs_global_seed():
    found = []
    for seed, elsewhere in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(elsewhere)
        arguments = build, regression(), F.mse_loss, [3], TEST
        found.append(dedicated(*arguments, seed=seed, **SMALL).at(3))
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_the_same_comparison_trains_nothing_and_a_wider_one_only_what_is_missing(tmp_path, steps):
    def run(widths, **options):
        steps.clear()
        options = SMALL | {"checkpoint": tmp_path} | options
        sweep = dedicated(build, regression(), F.mse_loss, widths, TEST, **options)
        return sweep.values.tolist(), {step[0].out_features for step in steps}

    first, trained = run([1, 2])
    assert trained == {1, 2}
    assert run([1, 2]) == (first, set())
    more, trained = run([1, 2, 3])
    assert more[:2] == first
    assert trained == {3}
    assert run([1], lr=0.1)[1] == {1}


def test_interrupted_dedicated_networks_end_as_if_they_had_not_been(tmp_path, monkeypatch):
    arguments = build, regression(), F.mse_loss, [1, 2], TEST
    whole = dedicated(*arguments, **SMALL)
    with monkeypatch.context() as patch:
        interrupt(patch, step=4 * 2 + 4 + 2)  # in the second epoch of the second network
        with pytest.raises(KeyboardInterrupt, match="Ctrl-C"):
            dedicated(*arguments, checkpoint=tmp_path, **SMALL)
    resumed = dedicated(*arguments, checkpoint=tmp_path, **SMALL)
    assert resumed.values.tolist() == whole.values.tolist()


@pytest.mark.parametrize(
    ("rows", "widths"), [(640, (1, 3, 30)), (640, (64,)), (40, range(1, 41))], ids=str
)
def test_the_errors_of_pca_are_those_of_a_singular_value_decomposition(
    digits, held_out, rows, widths
):
    train, test = digits[:rows], held_out
    found = pca_errors(train, test, widths)
    x, y = (part.flatten(1).double().numpy() for part in (train, test))
    directions = np.linalg.svd(x - x.mean(0), full_matrices=False)[2]
    y = y - x.mean(0)
    assert list(found) == list(widths)
    for width, error in found.items():
        kept = directions[:width]
        expected = np.square(y @ kept.T @ kept - y).mean()
        # With as many components as rows, the last of them is arbitrary: the rows less their mean
        # span one direction fewer.
        if width < rows:
            assert error == pytest.approx(expected, rel=1e-6, abs=1e-12)
        assert error >= 0


@pytest.fixture(scope="module")
def pcaae(digits) -> PCAAE:
    options = {"epochs": 15, "lr": 5e-3, "batch_size": 64, "progress": False}
    return train_pcaae((1, 8, 8), 4, digits, hidden=(64,), **options)


def by_hand(model: PCAAE, x: torch.Tensor, width: int) -> torch.Tensor:
    """Reconstruct from the first units, each encoder on its own."""
    units = [encoder(x) for encoder in model.encoders]
    return model.decoders[width - 1](torch.cat(units[:width], 1))


def test_each_unit_of_a_pcaae_lowers_the_error_on_images_it_has_not_seen(pcaae, digits, held_out):
    errors = pcaae.errors(held_out)
    assert list(errors) == [1, 2, 3, 4]
    values = [F.mse_loss(digits.mean(0).expand_as(held_out), held_out).item(), *errors.values()]
    for fewer, more in itertools.pairwise(values):
        assert more < 0.93 * fewer, values
    assert not pcaae.training
    with torch.no_grad():
        for width, error in errors.items():
            images = by_hand(pcaae, held_out, width)
            assert error == pytest.approx(F.mse_loss(images, held_out).item(), rel=1e-5)
            assert torch.equal(images, pcaae(held_out, width))
        assert torch.equal(pcaae(held_out), pcaae(held_out, 4))


def test_units_of_a_pcaae_are_normalised_and_uncorrelated_because_of_its_penalty(pcaae, digits):
    options = {"epochs": 15, "lr": 5e-3, "batch_size": 64, "progress": False}
    free = train_pcaae((1, 8, 8), 4, digits, hidden=(64,), covariance=0, **options)

    def largest_correlation(model):
        with torch.no_grad():
            codes = model.encode(digits)
        assert codes.mean(0).abs().max() < 0.2
        assert (codes.std(0) - 1).abs().max() < 0.2
        return (torch.corrcoef(codes.T) - torch.eye(4)).abs().max().item()

    assert largest_correlation(pcaae) < 0.1
    assert largest_correlation(free) > 0.2


@pytest.mark.usefixtures("global_state_kept")
def test_a_stage_changes_no_earlier_unit_and_more_units_begin_with_those_of_fewer(digits, steps):
    options = {"hidden": (8,), "epochs": 1, "progress": False}
    with torch.random.fork_rng():
        torch.manual_seed(4)
        two = train_pcaae((1, 8, 8), 2, digits, **options)
    assert len({id(stage) for stage in steps}) == 2
    three = train_pcaae((1, 8, 8), 3, digits, **options)
    for part in ("encoders", "decoders"):
        for short, long in zip(getattr(two, part), getattr(three, part), strict=False):
            for name, value in short.state_dict().items():
                assert torch.equal(value, long.state_dict()[name]), (part, name)
    other = train_pcaae((1, 8, 8), 2, digits, seed=1, **options)
    assert other.errors(digits) != two.errors(digits)


@pytest.fixture
def float64():
    """Let Adam step by gradients and not by the rounding of those that are zero."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("float64")
def test_a_stage_is_trained_as_by_a_hand_written_loop(digits):
    x = digits[:48].double()
    options = {"epochs": 1, "batch_size": 16, "lr": 0.01, "schedule": "constant"}
    options |= {"hidden": (8,), "validation": None, "progress": False, "covariance": 3.0}
    first, found = (train_pcaae((1, 8, 8), units, x, **options) for units in (1, 2))
    with torch.random.fork_rng():
        torch.manual_seed(seed_from(0))
        hand = PCAAE((1, 8, 8), 2, hidden=(8,))
    encoder, decoder = hand.encoders[1], hand.decoders[1]
    with torch.no_grad():
        old = first.encode(x)
    order = torch.randperm(48, generator=torch.Generator().manual_seed(seed_from(0, 0)))
    weights = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(weights, lr=0.01)
    for rows in order.split(16):
        new = encoder(x[rows])
        images = decoder(torch.cat([old[rows], new], 1))
        loss = (images - x[rows]).square().mean() + 3 * (old[rows] * new).mean() ** 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for ours, theirs in ((found.encoders[1], encoder), (found.decoders[1], decoder)):
        for name, value in ours.state_dict().items():
            torch.testing.assert_close(value, theirs.state_dict()[name])


def test_the_penalty_is_the_mean_over_earlier_units():
    pixels = torch.zeros(4, 5)
    codes = torch.tensor([[1.0, 0, 1], [-1, 0, -1], [1, 2, 1], [-1, -2, -1]])
    # Covariances of the last unit with the others: 1 and 1, so 1 in the mean of squares.
    assert _stage_loss(torch.cat([pixels, codes], 1), pixels, 0.5).item() == 0.5
    codes[:, 1] = 0
    assert _stage_loss(torch.cat([pixels, codes], 1), pixels + 2, 0.5).item() == 4.25


def test_an_interrupted_pcaae_goes_on_and_a_finished_one_returns_at_once(
    digits, tmp_path, monkeypatch, steps
):
    options = {"hidden": (8,), "epochs": 2, "batch_size": 192, "progress": False}
    arguments = (1, 8, 8), 2, digits
    whole = train_pcaae(*arguments, **options).errors(digits)
    a_stage = len(steps) // 2
    with monkeypatch.context() as patch:
        interrupt(patch, step=a_stage + a_stage // 2 + 1)  # in the second stage's second epoch
        with pytest.raises(KeyboardInterrupt, match="Ctrl-C"):
            train_pcaae(*arguments, checkpoint=tmp_path, **options)
    steps.clear()
    resumed = train_pcaae(*arguments, checkpoint=tmp_path, **options)
    assert len(steps) == a_stage // 2
    assert resumed.errors(digits) == whole
    steps.clear()
    assert train_pcaae(*arguments, checkpoint=tmp_path, **options).errors(digits) == whole
    assert not steps
    longer = train_pcaae((1, 8, 8), 3, digits, checkpoint=tmp_path, **options)
    assert len(steps) == a_stage
    assert longer.errors(digits)[2] == whole[2]


def test_a_last_batch_of_a_single_image_is_no_error(digits):
    options = {"hidden": (8,), "epochs": 1, "validation": None, "progress": False}
    model = train_pcaae((1, 8, 8), 2, digits[:17], batch_size=16, **options)
    assert np.isfinite(list(model.errors(digits).values())).all()
    kept = copy.deepcopy(model.encoders[0].state_dict())
    single = model.encoders[0].train()(digits[:1])
    torch.testing.assert_close(single, model.encoders[0].eval()(digits[:1]))
    for name, value in model.encoders[0].state_dict().items():
        assert torch.equal(value, kept[name]), name


def test_measuring_a_pcaae_leaves_its_mode_and_its_statistics_alone(digits):
    model = PCAAE((1, 8, 8), 2, hidden=(8,))
    model.encoders[1].eval()
    before = copy.deepcopy(model.state_dict())
    model.errors(digits)
    assert model.training
    assert not model.encoders[1].training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


X = torch.rand(20, 1, 4, 4)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"build": 3}, TypeError, "build must be callable on a width, got 3"),
        ({"build": lambda width: None}, TypeError, "what build makes must be a .*Module, got None"),
        (
            {"build": lambda width: MLP(4, (Width(width),), 2)},
            ValueError,
            r"build must make a network without a knob, got .* at width 1; an axis of fixed",
        ),
        (
            {"build": lambda width: build(width) if width < 3 else None, "widths": [1, 3]},
            TypeError,
            "what build makes must be a .*Module, got None",
        ),
        ({"widths": []}, ValueError, "widths must name at least one width, got none"),
        ({"widths": 3}, TypeError, "widths must be a sequence of integers, got 3"),
        ({"widths": [0]}, ValueError, "widths must be at least 1, got 0"),
        ({"widths": [1.0]}, TypeError, "widths must be an integer at least 1, got 1.0"),
        ({"test": TEST[0]}, TypeError, r"test must hold pairs of tensors \(inputs, targets\)"),
        ({"test": (TEST[0], TEST[1][:2])}, ValueError, "test must pair as many .* got 7 and 2"),
        ({"test": (TEST[0][:0], TEST[1][:0])}, ValueError, "test must hold at least one row"),
        ({"metric": "mse"}, TypeError, "metric must be callable on .*, got 'mse'"),
        ({"loss": "mse"}, TypeError, "loss must be callable on .*, got 'mse'"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
        ({"epoch": 3}, TypeError, "unexpected keyword argument 'epoch'"),
    ],
)
def test_dedicated_networks_refuse_what_cannot_be_trained(changed, error, message, steps):
    arguments = {"build": build, "data": regression(), "loss": F.mse_loss, "widths": [1]}
    with pytest.raises(error, match=message):
        dedicated(**arguments | {"test": TEST} | SMALL | changed)
    assert not steps


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"train": X.numpy()}, TypeError, "train must be a tensor, got ndarray"),
        ({"train": X[:0]}, ValueError, "train must hold at least one row"),
        ({"test": X[0, 0, 0]}, ValueError, r"test must have shape \(n, ...\), got \(4,\)"),
        ({"test": X[..., 1:]}, ValueError, r"test must .* \(1, 4, 4\) .* got \(1, 4, 3\)"),
        ({"widths": [17]}, ValueError, r"widths must lie in 1\.\.16, got 17"),
        ({"widths": [11], "train": X[:10]}, ValueError, r"widths must lie in 1\.\.10, got 11"),
        ({"widths": []}, ValueError, "widths must name at least one width, got none"),
    ],
)
def test_pca_refuses_images_that_do_not_fit_and_components_that_do_not_exist(
    changed, error, message
):
    with pytest.raises(error, match=message):
        pca_errors(**{"train": X, "test": X, "widths": [1]} | changed)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"shape": (2, 4, 4)}, ValueError, r"data must have shape \(n, 2, 4, 4\), got \(20, 1"),
        ({"shape": 4}, TypeError, "shape must be a sequence of sizes, got 4"),
        ({"units": 0}, ValueError, "units must be at least 1, got 0"),
        ({"units": 1.0}, TypeError, "units must be an integer at least 1, got 1.0"),
        ({"data": (X, X)}, TypeError, "data must be a tensor, got tuple"),
        ({"data": X[:0]}, ValueError, "data must hold at least one row"),
        ({"hidden": 8}, TypeError, "hidden must be a sequence of axes, got 8"),
        (
            {"data": X.mul(255).byte()},
            TypeError,
            r"data must be floats in \[0, 1\], got torch.uint8",
        ),
        ({"validation": (X, X)}, TypeError, "validation must be a share or None, .* got tuple"),
        ({"covariance": -1}, ValueError, "covariance must be a finite number of at least 0, got"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
    ],
)
def test_a_pcaae_refuses_what_cannot_be_trained(changed, error, message, steps):
    arguments = {"shape": (1, 4, 4), "units": 2, "data": X, "hidden": (4,), "progress": False}
    with pytest.raises(error, match=message):
        train_pcaae(**arguments | changed)
    assert not steps


def test_a_pcaae_refuses_images_of_another_shape():
    model = PCAAE((1, 4, 4), 2, hidden=(4,))
    for method in (model, model.encode, model.errors):
        with pytest.raises(ValueError, match=r"x must have shape \(n, 1, 4, 4\), got \(20, 4, 4\)"):
            method(X[:, 0])


@pytest.mark.parametrize("width", [0, 3])
def test_a_pcaae_has_no_width_beyond_its_units(width):
    model = PCAAE((1, 4, 4), 2, hidden=(4,))
    for method in (model, model.encode):
        with pytest.raises(ValueError, match=rf"width must lie in 1\.\.2, got {width}"):
            method(X, width)
    with pytest.raises(TypeError, match="x must be a tensor, got list"):
        model.errors([1.0])
