import copy
import itertools
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vsnn_lab import (
    MLP,
    Autoencoder,
    Interpolated,
    Stratified,
    Triangular,
    Width,
    at_width,
    data,
    extract,
    fit,
)
from vsnn_lab.data.batches import TensorBatches, split_validation


@pytest.fixture(scope="module")
def digits() -> torch.Tensor:
    return data.load("digits").images


def regression(rows: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(rows, 4, generator=torch.Generator().manual_seed(1))
    return x, x[:, :2].sin()


def seeded(make, seed: int = 3) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def plain() -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)))


def variable() -> nn.Module:
    return seeded(lambda: MLP(4, (Width(8),), 2, nn.Tanh))


def noisy() -> nn.Module:
    def make():
        width = Width(8)
        return nn.Sequential(MLP(4, (width,), 6), nn.Dropout(0.3), nn.Linear(6, 2))

    return seeded(make)


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def quietly(model, *arguments, **settings):
    return fit(model, *arguments, **{"epochs": 2, "batch_size": 16, "progress": False} | settings)


def test_training_an_autoencoder_beats_the_untrained_one_and_the_mean_image_at_every_width(digits):
    model = seeded(lambda: Autoencoder((1, 8, 8), Width(8), hidden=(32,)))
    held_out = data.load("digits", "test").images
    widths = range(1, 9)

    def losses():
        with torch.no_grad():
            return [F.mse_loss(extract(model, w).eval()(held_out), held_out) for w in widths]

    before = losses()
    fit(model, (digits, digits), F.mse_loss, epochs=12, lr=1e-2, batch_size=64, progress=False)
    after = losses()
    mean_image = F.mse_loss(digits.mean(0).expand_as(held_out), held_out)
    for width, old, new in zip(widths, before, after, strict=True):
        assert new < old, width
        assert new < 0.95 * mean_image, width


@pytest.mark.parametrize("schedule", ["one-cycle", "constant"])
def test_a_plain_network_is_trained_as_by_a_hand_written_loop(schedule):
    x, y = regression()
    model, hand = plain(), plain()
    settings = {"epochs": 3, "lr": 0.01, "schedule": schedule, "seed": 5, "validation": 0.25}
    history = quietly(model, (x, y), F.mse_loss, **settings)

    train, held_out = split_validation(x, y, 0.25, seed=5)
    batches = TensorBatches(*train, batch_size=16, seed=5)
    optimizer = torch.optim.Adam(hand.parameters(), lr=0.01, fused=True)
    if schedule == "one-cycle":
        rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=3 * 3 + 1)
    trained, scores, weights = [], [], []
    for _ in range(3):
        losses = []
        for inputs, targets in batches:
            optimizer.zero_grad()
            loss = F.mse_loss(hand(inputs), targets)
            loss.backward()
            optimizer.step()
            if schedule == "one-cycle":
                rates.step()
            losses += [loss.item()] * len(inputs)
        trained.append(np.mean(losses))
        with torch.no_grad():
            scores.append(F.mse_loss(hand(held_out[0]), held_out[1]).item())
        weights.append(copy.deepcopy(hand.state_dict()))
    hand.load_state_dict(weights[int(np.argmin(scores))])
    assert same_weights(model, hand)
    assert [row["train_loss"] for row in history.epochs] == pytest.approx(trained, rel=1e-5)
    assert [row["full"] for row in history.epochs] == pytest.approx(scores, rel=1e-6)
    assert history.narrow_width is None
    assert "narrow" not in history.epochs[0]


def dense(parameters: list[torch.Tensor], width: int, x: torch.Tensor) -> torch.Tensor:
    """Compute the `variable` network of one width by hand."""
    first, first_bias, last, last_bias = parameters
    return (x @ first[:width].T + first_bias[:width]).tanh() @ last[:, :width].T + last_bias


@pytest.mark.parametrize("sampler", [Stratified(2), Triangular(), Interpolated(Triangular(), 0.4)])
def test_steps_at_sampled_widths_are_those_of_hand_written_dense_slices(sampler):
    x, y = regression(256)
    model = variable()
    parameters = [p.detach().clone().requires_grad_() for p in model.parameters()]
    drawn = []

    def recording(batch_size, steps, generator):
        drawn.append(sampler(batch_size, steps, generator))
        return drawn[-1]

    settings = {"epochs": 2, "batch_size": 128, "validation": None, "sampler": recording}
    quietly(model, (x, y), F.mse_loss, lr=0.01, **settings)

    optimizer = torch.optim.Adam(parameters, lr=0.01, fused=True)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=5)
    batches = TensorBatches(x, y, batch_size=128, seed=0)
    steps = list(itertools.chain(batches, batches))
    for (inputs, targets), widths in zip(steps, drawn, strict=True):
        assert len(widths.unique()) > 1
        errors = [
            (dense(parameters, int(width), inputs[i]) - targets[i]).square().sum()
            for i, width in enumerate(widths)
        ]
        optimizer.zero_grad()
        (sum(errors) / targets.numel()).backward()
        optimizer.step()
        rates.step()
    for found, expected in zip(model.parameters(), parameters, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_gradients_from_before_are_no_part_of_the_first_step():
    clean, burdened = variable(), variable()
    for parameter in burdened.parameters():
        parameter.grad = torch.full_like(parameter, 100.0)
    for model in (clean, burdened):
        quietly(model, regression(), F.mse_loss)
    assert same_weights(clean, burdened)


@pytest.mark.usefixtures("global_state_kept")
def test_one_seed_gives_one_network_and_torchs_global_generator_is_left_alone():
    models = [noisy() for _ in range(4)]
    histories = []
    for model, seed, elsewhere in zip(models, (7, 7, 8, 7), (0, 1, 0, 0), strict=True):
        with torch.random.fork_rng():
            torch.manual_seed(elsewhere)
            before = torch.get_rng_state()
            histories.append(quietly(model, regression(), F.mse_loss, seed=seed))
            assert torch.equal(torch.get_rng_state(), before)
    assert same_weights(models[0], models[1])
    assert same_weights(models[0], models[3])
    assert not same_weights(models[0], models[2])
    assert histories[0].epochs[0]["full"] == histories[1].epochs[0]["full"]


def test_training_on_one_device_seeds_no_other(monkeypatch):
    def seeded_all(seed):
        raise AssertionError("every GPU was seeded")

    model = noisy()
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded_all)
    with pytest.raises(AssertionError, match="every GPU"):
        torch.manual_seed(0)
    quietly(model, regression(), F.mse_loss)


def test_dropout_differs_from_step_to_step_and_epoch_to_epoch():
    masks = []

    class Recording(nn.Module):
        def forward(self, x):
            masks.append(F.dropout(torch.ones(8), training=self.training).tolist())
            return x

    model = nn.Sequential(plain(), Recording())
    quietly(model, regression(32), F.mse_loss, validation=None)
    assert len({tuple(mask) for mask in masks}) == len(masks) == 4


def test_widths_are_drawn_anew_in_every_epoch_and_by_the_seed_alone():
    def drawn(seed):
        widths = []

        def recording(batch_size, steps, generator):
            widths.append(Stratified(8)(batch_size, steps, generator))
            return widths[-1]

        settings = {"sampler": recording, "validation": None, "seed": seed, "epochs": 3}
        quietly(MLP(4, (Width(1000),), 2), regression(16), F.mse_loss, **settings)
        return [tuple(row.tolist()) for row in widths]

    first = drawn(1)
    assert len(set(first)) == len(first) == 3
    assert drawn(1) == first
    assert not set(drawn(2)) & set(first)


class Jumping:
    """A loss whose optimum moves, so that the best epoch is in the middle."""

    def __init__(self, training_steps: int):
        self.turning, self.steps = training_steps, 0

    def __call__(self, output, target):
        if torch.is_grad_enabled():
            self.steps += 1
            sign = 1 if self.steps <= self.turning else -1
            return F.mse_loss(output, sign * target)
        return F.mse_loss(output, target)


def test_the_model_ends_with_the_best_epochs_weights():
    x, y = regression(96)
    held_out = (x[:32], y[:32])
    model, steps_an_epoch = variable(), 4
    settings = {"lr": 0.02, "schedule": "constant", "validation": held_out, "narrow": 3}
    loss = Jumping(3 * steps_an_epoch)
    history = quietly(model, (x[32:], y[32:]), loss, epochs=6, **settings)
    scores = [(row["full"] + row["narrow"]) / 2 for row in history.epochs]
    assert history.best_epoch == 1 + int(np.argmin(scores)) < 6
    parameters = [p.detach() for p in model.parameters()]
    losses = [F.mse_loss(dense(parameters, w, held_out[0]), held_out[1]).item() for w in (8, 3)]
    best = history.epochs[history.best_epoch - 1]
    assert [best["full"], best["narrow"]] == pytest.approx(losses, rel=1e-5)


def test_an_epoch_whose_validation_is_not_a_number_is_never_the_best():
    measured = []

    def loss(output, target):
        if not torch.is_grad_enabled():
            measured.append(1)
        bad = len(measured) in (1, 2) and not torch.is_grad_enabled()
        return F.mse_loss(output, target) * (float("nan") if bad else 1)

    history = quietly(variable(), regression(), loss)
    assert np.isnan(history.epochs[0]["full"])
    assert history.best_epoch == 2


def test_without_validation_the_last_epoch_counts():
    x, y = regression()
    model, plain_loop = plain(), plain()
    history = quietly(model, (x, y), F.mse_loss, validation=None, schedule="constant", lr=0.5)
    assert history.best_epoch == 2
    assert history.epochs[0].keys() == {"epoch", "train_loss", "seconds"}
    optimizer = torch.optim.Adam(plain_loop.parameters(), lr=0.5, fused=True)
    batches = TensorBatches(x, y, batch_size=16, seed=0)
    for inputs, targets in itertools.chain(batches, batches):
        optimizer.zero_grad()
        F.mse_loss(plain_loop(inputs), targets).backward()
        optimizer.step()
    assert same_weights(model, plain_loop)


def test_validation_as_a_share_equals_validation_as_the_pair_it_splits_off():
    x, y = regression()
    train, held_out = split_validation(x, y, 0.2, seed=4)
    one, other = variable(), variable()
    shares = quietly(one, (x, y), F.mse_loss, validation=0.2, seed=4)
    pairs = quietly(other, train, F.mse_loss, validation=held_out, seed=4)
    assert same_weights(one, other)
    assert [row["full"] for row in shares.epochs] == [row["full"] for row in pairs.epochs]


@pytest.mark.parametrize(("steps", "narrow"), [(1, 1), (8, 1), (16, 2), (100, 12)])
def test_the_narrow_width_watched_is_an_eighth_of_the_knob(steps, narrow):
    model = MLP(4, (Width(steps),), 2)
    assert quietly(model, regression(), F.mse_loss, epochs=1).narrow_width == narrow


@pytest.mark.parametrize("training", [True, False])
def test_every_module_is_put_back_into_its_mode(training):
    model = nn.Sequential(variable(), nn.BatchNorm1d(2).eval(), nn.Dropout())
    model.training = training
    quietly(model, regression(), F.mse_loss)
    assert [module.training for module in (model, *model)] == [training, True, False, True]


def test_the_mode_is_put_back_and_the_knob_is_at_rest_after_an_error():
    model = variable().eval()

    def broken(output, target):
        raise RuntimeError("loss broke")

    with pytest.raises(RuntimeError, match="loss broke"):
        quietly(model, regression(), broken)
    assert not model.training
    assert model[0].out_axis.control.position == 8


class Recorded:
    """Batches that can be read again and are told the epoch."""

    def __init__(self, x, y):
        self.parts, self.epoch, self.read = list(zip(x.split(16), y.split(16), strict=True)), 0, []

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return len(self.parts)

    def __iter__(self):
        self.read.append(self.epoch)
        return iter(self.parts[:: -1 if self.epoch % 2 else 1])


def test_batches_are_read_once_an_epoch_and_told_which_it_is():
    x, y = regression(48)
    batches = Recorded(x, y)
    model, hand = plain(), plain()
    quietly(model, batches, F.mse_loss, epochs=3, validation=None, lr=0.01)
    assert batches.read == [0, 1, 2]
    optimizer = torch.optim.Adam(hand.parameters(), lr=0.01, fused=True)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=10)
    for start in (0, 16, 32, 32, 16, 0, 0, 16, 32):
        rows = slice(start, start + 16)
        optimizer.zero_grad()
        F.mse_loss(hand(x[rows]), y[rows]).backward()
        optimizer.step()
        rates.step()
    assert same_weights(model, hand)


def test_a_list_of_batches_and_a_data_loader_will_do():
    x, y = regression(48)
    batches = list(zip(x.split(16), y.split(16), strict=True))
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=16)
    models = [plain(), plain()]
    for model, given in zip(models, (batches, loader), strict=True):
        quietly(model, given, F.mse_loss, validation=(x, y))
    assert same_weights(*models)


def test_a_shuffling_data_loader_is_repeatable():
    x, y = regression(48)
    models = [plain(), plain()]
    for global_seed, model in enumerate(models):
        torch.manual_seed(global_seed)
        dataset = torch.utils.data.TensorDataset(x, y)
        loader = torch.utils.data.DataLoader(dataset, batch_size=16, shuffle=True)
        quietly(model, loader, F.mse_loss, validation=None)
    assert same_weights(*models)


def test_the_history_becomes_a_frame_with_one_row_an_epoch():
    history = quietly(variable(), regression(), F.mse_loss, epochs=3)
    frame = history.to_frame()
    assert list(frame.columns) == ["epoch", "train_loss", "full", "narrow", "seconds"]
    assert frame["epoch"].tolist() == [1, 2, 3]
    assert frame["full"].tolist() == [row["full"] for row in history.epochs]
    assert (frame["seconds"] > 0).all()
    assert history.folder is None


def test_a_frozen_parameter_stays_as_it_is():
    model = variable()
    model[0].weight.requires_grad_(False)
    before, free = model[0].weight.clone(), model[2].weight.clone()
    quietly(model, regression(), F.mse_loss)
    assert torch.equal(model[0].weight, before)
    assert not torch.equal(model[2].weight, free)


def test_a_loss_that_diverges_stops_the_run():
    def diverging(output, target):
        return F.mse_loss(output, target) * float("inf")

    with pytest.raises(FloatingPointError, match=r"loss must stay finite, got .* in epoch 1; try"):
        quietly(variable(), regression(), diverging)


def test_the_bar_shows_the_loss_at_full_and_narrow_width(capfd):
    history = quietly(variable(), regression(), F.mse_loss, progress=True)
    shown = capfd.readouterr().err
    assert "epoch 2/2" in shown
    numbers = re.findall(r"full=([\d.e-]+), narrow=([\d.e-]+)", shown.rsplit("\r", 1)[-1])
    last = history.epochs[-1]
    assert [float(n) for n in numbers[-1]] == pytest.approx(
        [last["full"], last["narrow"]], rel=0.01
    )


def test_a_quiet_run_writes_nothing(capfd, tmp_path):
    quietly(variable(), regression(), F.mse_loss, checkpoint=tmp_path)
    quietly(variable(), regression(), F.mse_loss, checkpoint=tmp_path)
    assert capfd.readouterr() == ("", "")


def batches_of(x, y):
    yield x, y


X, Y = regression(20)
TWO_KNOBS = MLP(4, (Width(2), Width(2)), 2)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
        ({"epochs": 2.0}, TypeError, r"epochs must be an integer at least 1, got 2\.0"),
        ({"epochs": True}, TypeError, "epochs must be an integer at least 1, got True"),
        ({"lr": 0}, ValueError, "lr must be a finite number above 0, got 0"),
        ({"lr": -1.0}, ValueError, r"lr must be a finite number above 0, got -1\.0"),
        ({"lr": float("nan")}, ValueError, "lr must be a finite number above 0, got nan"),
        ({"lr": float("inf")}, ValueError, "lr must be a finite number above 0, got inf"),
        ({"lr": "1e-3"}, TypeError, "lr must be a number above 0, got '1e-3'"),
        ({"lr": True}, TypeError, "lr must be a number above 0, got True"),
        ({"schedule": "linear"}, ValueError, "schedule must be one of .*, got 'linear'"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"seed": 0.5}, TypeError, r"seed must be an integer at least 0, got 0\.5"),
        ({"sampler": 4}, TypeError, "sampler must be callable or None, got 4"),
        ({"sampler": 0}, TypeError, "sampler must be callable or None, got 0"),
        ({"loss": "mse"}, TypeError, "loss must be callable on .*, got 'mse'"),
        ({"validation": 1.5}, ValueError, r"validation must be a share .*, got 1\.5"),
        ({"validation": 0.0}, ValueError, r"validation must be a share .*, got 0\.0"),
        ({"validation": 0.001}, ValueError, r"validation at least one row, got 0\.001 of 20"),
        ({"validation": "x"}, TypeError, "validation must be a share in .* or None, got 'x'"),
        ({"validation": (X,)}, TypeError, "validation must be a share in .* or None, got "),
        ({"validation": (X, Y[:3])}, ValueError, "as many inputs as targets, .* got 20 and 3"),
        ({"validation": (X[:0], Y[:0])}, ValueError, "at least one, got 0 and 0"),
        ({"data": [(X, Y)]}, ValueError, r"validation must be a pair .* batches, got 0\.1"),
        ({"data": batches_of(X, Y)}, TypeError, "data must be a pair .* got generator"),
        ({"data": X}, TypeError, "data must be a pair .* got Tensor"),
        ({"data": (X, Y, Y)}, ValueError, r"pair \(inputs, targets\), got 3 tensors"),
        ({"data": (X, Y[:3])}, ValueError, "data must pair as many inputs .* got 20 and 3"),
        ({"narrow": 9}, ValueError, r"narrow must lie in 1\.\.8, got 9"),
        ({"narrow": 0}, ValueError, r"narrow must lie in 1\.\.8, got 0"),
        ({"narrow": 0.5}, TypeError, r"narrow must be an integer in 1\.\.8, got 0\.5"),
        ({"model": nn.Identity()}, ValueError, "model must have a parameter .*, got none"),
        ({"model": F.relu}, TypeError, r"model must be a torch\.nn\.Module, got <function relu"),
        (
            {"knobs": "apart"},
            ValueError,
            "knobs must be one of 'joint', 'independent', got 'apart'",
        ),
        (
            {"model": TWO_KNOBS, "knobs": "independent"},
            ValueError,
            r"knobs must be 'joint' for Distilled\(.*, got 'independent'; Sampled, and Distilled",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_changes(arguments, error, message):
    model = arguments.get("model", variable())
    asked = {"model": model, "data": (X, Y), "loss": F.mse_loss, "progress": False} | arguments
    with pytest.raises(error, match=message):
        fit(**asked)
    if isinstance(model, MLP) and model is not TWO_KNOBS:
        assert same_weights(model, variable())


def test_training_inside_at_width_uses_the_whole_knob_and_leaves_it_where_it_stood():
    inside, outside = variable(), variable()
    with at_width(inside, 2):
        quietly(inside, regression(), F.mse_loss)
        assert inside[0].out_axis.control.position == 2
    quietly(outside, regression(), F.mse_loss)
    assert same_weights(inside, outside)
