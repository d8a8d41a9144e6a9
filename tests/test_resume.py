import functools
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vsnn_lab import MLP, Stratified, Triangular, Weighted, Width, fit
from vsnn_lab.batches import TensorBatches
from vsnn_lab.checkpoints import read, read_header
from vsnn_lab.resume import describe, structure

EPOCHS = 4
ROWS, BATCH = 48, 16
STEPS = ROWS // BATCH


def regression(shift: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(ROWS, 4, generator=torch.Generator().manual_seed(1))
    return x, x[:, :2].sin() + shift


def network(seed: int = 3) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(MLP(4, (Width(8),), 6), nn.Dropout(0.2), nn.Linear(6, 2))


def held_out() -> tuple[torch.Tensor, torch.Tensor]:
    x, y = regression()
    return x[::4], y[::4]


def run(model, folder=None, **settings):
    asked = {"data": regression(), "loss": F.mse_loss, "validation": held_out(), "epochs": EPOCHS}
    asked |= {"batch_size": BATCH, "lr": 0.01, "progress": False, "checkpoint": folder}
    return fit(model, **asked | settings)


class Interrupting:
    """A loss during which a person presses Ctrl-C, once."""

    def __init__(self, at: int):
        self._left = at
        self._wanted = F.mse_loss

    def __call__(self, output, target):
        if torch.is_grad_enabled():
            self._left -= 1
            if self._left == 0:
                raise KeyboardInterrupt("Ctrl-C")
        return self._wanted(output, target)


def weights(model: nn.Module) -> dict[str, list]:
    return {name: value.tolist() for name, value in model.state_dict().items()}


def rows(history) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history.epochs]


@pytest.mark.parametrize("step", [1, 2, STEPS + 1, 2 * STEPS + 2, EPOCHS * STEPS])
@pytest.mark.parametrize("again", ["the same object", "a new object"])
def test_an_interrupted_run_ends_as_if_it_had_not_been_interrupted(tmp_path, step, again):
    whole, broken, loss = network(), network(), Interrupting(step)
    expected = run(whole)
    with pytest.raises(KeyboardInterrupt, match="Ctrl-C"):
        run(broken, tmp_path, loss=loss)
    if again == "a new object":
        broken = network()
    history = run(broken, tmp_path, loss=loss)
    assert history.resumed_at == (step - 1) // STEPS
    assert weights(broken) == weights(whole)
    assert rows(history) == rows(expected)
    assert history.best_epoch == expected.best_epoch
    assert len(list(tmp_path.glob("*/last.safetensors"))) == 1


def test_an_interrupted_model_is_put_back_to_its_last_finished_epoch(tmp_path):
    untouched, first, third = network(), network(), network()
    for model, step in ((first, 2), (third, 2 * STEPS + 2)):
        with pytest.raises(KeyboardInterrupt, match="Ctrl-C"):
            run(model, tmp_path / str(step), loss=Interrupting(step))
    assert weights(first) == weights(untouched)
    last = next((tmp_path / str(2 * STEPS + 2)).glob("*/last.safetensors"))
    tensors, header = read(last)
    assert [row["epoch"] for row in header["epochs"]] == [1, 2]
    found = {name: tensors[f"model.{name}"].tolist() for name in third.state_dict()}
    assert found == weights(third)


class Told:
    """Batches that remember the epoch in public, and in which a person presses Ctrl-C, once."""

    def __init__(self, x, y, interrupted_in: int | None):
        self.parts, self.epoch = list(zip(x.split(BATCH), y.split(BATCH), strict=True)), 0
        self._interrupted_in = interrupted_in

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return len(self.parts)

    def __iter__(self):
        yield from self.parts[: self.epoch % 2 + 1]
        if self.epoch == self._interrupted_in:
            self._interrupted_in = None
            raise KeyboardInterrupt("while reading")
        yield from self.parts[self.epoch % 2 + 1 :]


def test_an_interruption_while_data_are_read_is_as_harmless(tmp_path):
    whole, broken = network(), network()
    expected = run(whole, data=Told(*regression(), None))
    batches = Told(*regression(), 2)
    with pytest.raises(KeyboardInterrupt, match="while reading"):
        run(broken, tmp_path, data=batches)
    history = run(broken, tmp_path, data=batches)
    assert history.resumed_at == 2
    assert weights(broken) == weights(whole)
    assert rows(history) == rows(expected)


def test_gradients_of_the_interrupted_step_are_forgotten(tmp_path):
    whole, broken = network(), network()
    run(whole)
    handle = broken[2].weight.register_hook(lambda _: (_ for _ in ()).throw(KeyboardInterrupt("x")))
    with pytest.raises(KeyboardInterrupt, match="x"):
        run(broken, tmp_path)
    handle.remove()
    for parameter in broken.parameters():
        parameter.grad = torch.ones_like(parameter)
    run(broken, tmp_path)
    assert weights(broken) == weights(whole)


def test_an_interruption_says_how_much_is_kept_and_the_next_call_too(tmp_path, capfd):
    loss = Interrupting(2 * STEPS + 1)
    with pytest.raises(KeyboardInterrupt, match="Ctrl-C"):
        run(network(), tmp_path, loss=loss, progress=True)
    folder = next(tmp_path.iterdir())
    assert f"stopped; 2 of 4 epochs are in {folder}" in "".join(capfd.readouterr())
    run(network(), tmp_path, loss=loss, progress=True)
    assert f"2 of 4 epochs are already in {folder}" in "".join(capfd.readouterr())


def test_a_loss_that_diverges_leaves_the_last_whole_epoch(tmp_path):
    calls = []

    def diverging(output, target):
        calls.append(torch.is_grad_enabled())
        return F.mse_loss(output, target) * (float("nan") if sum(calls) > STEPS else 1)

    model = network()
    with pytest.raises(FloatingPointError, match="got nan in epoch 2"):
        run(model, tmp_path, loss=diverging)
    tensors, _ = read(next(tmp_path.glob("*/last.safetensors")))
    assert tensors["model.2.bias"].tolist() == model[2].bias.tolist()


@pytest.mark.parametrize("again", ["the same object", "a new object"])
def test_a_finished_run_called_again_trains_nothing(tmp_path, again):
    calls = []

    def counted(output, target):
        calls.append(1)
        return F.mse_loss(output, target)

    model = network()
    first = run(model, tmp_path, loss=counted)
    kept, done = weights(model), len(calls)
    assert done == EPOCHS * (STEPS + 2)
    model = model if again == "the same object" else network()
    second = run(model, tmp_path, loss=counted)
    assert len(calls) == done
    assert second.epochs == first.epochs
    assert (second.best_epoch, second.folder) == (first.best_epoch, first.folder)
    assert second.resumed_at == EPOCHS
    assert weights(model) == kept


def rising_validation(output, target):
    """Make the first epoch the best one, whatever the network learns."""
    if torch.is_grad_enabled():
        return F.mse_loss(output, target)
    return -F.mse_loss(output, target)


class InterruptingRising(Interrupting):
    def __init__(self, at: int):
        super().__init__(at)
        self._wanted = rising_validation


def test_the_best_weights_survive_an_interruption_and_are_found_again(tmp_path):
    whole, broken, loss = network(), network(), InterruptingRising(3 * STEPS)
    assert run(whole, loss=rising_validation).best_epoch == 1
    with pytest.raises(KeyboardInterrupt, match="Ctrl-C"):
        run(broken, tmp_path, loss=loss)
    assert run(broken, tmp_path, loss=loss).best_epoch == 1
    assert weights(broken) == weights(whole)
    assert run(broken, tmp_path, loss=loss).resumed_at == EPOCHS
    assert len(list(tmp_path.iterdir())) == 1
    best = read(next(tmp_path.glob("*/best.safetensors")))[0]
    assert {name: value.tolist() for name, value in best.items()} == weights(whole)


def twice(output, target):
    return 2 * F.mse_loss(output, target)


def test_every_other_setting_has_a_folder_of_its_own(tmp_path):
    x, y = regression()
    variants = [
        {},
        {"seed": 1},
        {"lr": 0.02},
        {"epochs": 2},
        {"schedule": "constant"},
        {"batch_size": 8},
        {"narrow": 2},
        {"sampler": Stratified(3)},
        {"sampler": Triangular()},
        {"sampler": Weighted(lambda fraction: fraction)},
        {"sampler": Weighted(lambda fraction: 1 / fraction)},
        {"loss": twice},
        {"loss": nn.MSELoss()},
        {"loss": functools.partial(F.huber_loss, delta=0.5)},
        {"loss": functools.partial(F.huber_loss, delta=1.5)},
        {"data": regression(shift=0.5)},
        {"data": (x, y.double().float() + 1e-7 * (torch.arange(ROWS) == 5)[:, None])},
        {"validation": None},
        {"validation": (x[:4], y[:4])},
    ]
    folders = []
    for variant in variants:
        history = run(network(), tmp_path, **{"epochs": 1} | variant)
        assert history.resumed_at == 0, variant
        folders.append(history.folder)
    folders.append(run(network(seed=4), tmp_path, epochs=1).folder)
    assert len(set(folders)) == len(folders)
    again = run(network(), tmp_path, epochs=1)
    assert again.resumed_at == 1
    assert again.folder == folders[0]


def test_networks_that_differ_in_a_hidden_setting_have_folders_of_their_own(tmp_path):
    class Scaled(nn.Module):
        def __init__(self, scale, activation):
            super().__init__()
            self.net, self.scale, self.activation = network(), scale, activation

        def forward(self, x):
            return self.activation(self.net(x)) * self.scale

    made = [(1.0, torch.tanh), (2.0, torch.tanh), (1.0, torch.sin), (1.0, F.relu), (1.0, F.elu)]
    folders = {run(Scaled(*settings), tmp_path, epochs=1).folder for settings in made}
    assert len(folders) == len(made)
    assert run(Scaled(2.0, torch.tanh), tmp_path, epochs=1).resumed_at == 1


def test_what_a_network_notes_while_it_runs_does_not_make_it_another(tmp_path):
    class Noting(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.calls, self.seen = network(), 0, []

        def forward(self, x):
            self.calls += 1
            self.last = self.net(x)
            self.seen.append(len(x))
            return self.last

    model = Noting()
    run(model, tmp_path, epochs=1)
    assert run(model.eval(), tmp_path, epochs=1).resumed_at == 1


@pytest.mark.parametrize("name", ["last.safetensors", "best.safetensors"])
def test_a_damaged_checkpoint_is_an_error_that_names_the_file(tmp_path, name):
    model = network()
    folder = run(model, tmp_path, epochs=2).folder
    before = weights(model)
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[:-10])
    with pytest.raises(ValueError, match=rf"{folder.name}/{name} is damaged .*delete it to start"):
        run(model, tmp_path, epochs=2)
    assert weights(model) == before


def test_a_checkpoint_in_a_place_that_is_a_file_fails_before_training(tmp_path):
    (tmp_path / "taken").touch()
    calls = []
    with pytest.raises(OSError, match="taken"):
        run(network(), tmp_path / "taken", loss=lambda *_: calls.append(1))
    assert not calls


def test_the_best_file_holds_the_models_weights_and_the_history(tmp_path):
    model = network()
    history = run(model, str(tmp_path / "deep" / "folder"))
    tensors, header = read(history.folder / "best.safetensors")
    assert {name: value.tolist() for name, value in tensors.items()} == weights(model)
    assert header["best_epoch"] == history.best_epoch
    assert read_header(history.folder / "last.safetensors")["epochs"] == history.epochs
    assert sorted(os.listdir(history.folder)) == ["best.safetensors", "last.safetensors"]


KILLED = """
import os, signal, sys
import torch.nn.functional as F
sys.path.insert(0, {tests!r})
import test_resume

calls = replaced = 0
real_replace = os.replace


def loss(output, target):
    global calls
    calls += 1
    if calls == int(os.environ["KILL_AT_CALL"]):
        os.kill(os.getpid(), signal.SIGKILL)
    return F.mse_loss(output, target)


def replace(*names):
    global replaced
    replaced += 1
    if replaced == int(os.environ["KILL_AT_REPLACE"]):
        os.kill(os.getpid(), signal.SIGKILL)
    return real_replace(*names)


os.replace = replace
history = test_resume.run(test_resume.network(), {folder!r}, loss=loss)
print(history.resumed_at)
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
def test_a_killed_process_loses_at_most_the_epoch_it_was_in(tmp_path):
    script = KILLED.format(tests=os.path.dirname(__file__), folder=str(tmp_path))

    def process(call: int, replace: int) -> subprocess.CompletedProcess:
        env = os.environ | {"KILL_AT_CALL": str(call), "KILL_AT_REPLACE": str(replace)}
        arguments = [sys.executable, "-W", "ignore", "-c", script]
        return subprocess.run(arguments, env=env, capture_output=True, text=True)

    within_epoch_2 = STEPS + 2 + 2
    between_the_two_files_of_epoch_3 = 4
    for kill in ((within_epoch_2, 0), (0, between_the_two_files_of_epoch_3)):
        assert process(*kill).returncode == -signal.SIGKILL
    finished = process(0, 0)
    assert finished.stdout == "2\n", finished.stderr

    whole = network()
    expected = run(whole)
    folders = {path.parent for path in tmp_path.glob("*/last.safetensors")}
    tensors, header = read(next(iter(folders)) / "best.safetensors")
    assert len(folders) == 1
    assert {name: value.tolist() for name, value in tensors.items()} == weights(whole)
    kept = [{k: v for k, v in row.items() if k != "seconds"} for row in header["epochs"]]
    assert kept == rows(expected)


DESCRIBED = """
import functools, json
import torch
import torch.nn.functional as F
from torch import nn
from vsnn_lab import MLP, Interpolated, Stratified, Weighted, Width
from vsnn_lab.batches import TensorBatches
from vsnn_lab.resume import describe, structure

POWER = 2
def loss(output, target, kind="mse"):
    assert kind in {"mse", "mae", "huber", "other"}
    return F.mse_loss(output, target) + sum(abs(x) for x in (1, 2))
torch.manual_seed(0)
settings = [
    Weighted(lambda fraction: 1 / fraction**POWER, runs=4),
    Interpolated(Stratified(4), 0.5),
    functools.partial(loss, kind="mae"),
    nn.CrossEntropyLoss(weight=torch.ones(3), label_smoothing=0.1),
    nn.Linear(2, 2),
    TensorBatches(torch.arange(3), torch.arange(3)),
    structure(MLP(3, (Width(4),), 2)),
    {"a", "b", "c"}, torch.float32, torch.Generator(), object(), torch.exp, F.mse_loss,
]
print(json.dumps([describe(setting) for setting in settings]))
"""


def test_settings_are_described_the_same_in_every_process():
    found = []
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", DESCRIBED],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        found.append(done.stdout)
    assert found[0] == found[1]
    assert " at 0x" not in found[0]
    descriptions = [json.dumps(item) for item in json.loads(found[0])]
    assert len(set(descriptions)) == len(descriptions)


def power(exponent):
    return lambda fraction: fraction**exponent


def with_default(exponent):
    def weight(fraction, exponent=exponent):
        return fraction**exponent

    return weight


class Power:
    def __init__(self, exponent, note=""):
        self.exponent, self._note, self.calls = exponent, note, 0

    def __call__(self, fraction):
        self.calls += 1
        return fraction**self.exponent

    def weigh(self, fraction):
        return fraction**self.exponent


class Slotted:
    __slots__ = ("exponent",)

    def __init__(self, exponent):
        self.exponent = exponent

    def __repr__(self):
        return f"Slotted({self.exponent})"


def cross_entropy(smoothing):
    return nn.CrossEntropyLoss(label_smoothing=smoothing)


@pytest.mark.parametrize(
    "make",
    [
        power,
        with_default,
        Power,
        Slotted,
        cross_entropy,
        lambda number: Power(number).weigh,
        lambda number: functools.partial(power, exponent=number),
        lambda number: functools.partial(power, number),
        lambda number: lambda fraction: power(number)(fraction),
        lambda number: Weighted(power(number)),
        lambda number: {"a": [1, (number, None)]},
        lambda number: {number, 7},
        lambda number: np.float64(number),
        lambda number: np.array([number, 7]),
        lambda number: torch.tensor([number, 7]),
        lambda number: nn.Dropout(number / 10),
        lambda number: TensorBatches(torch.ones(2), torch.ones(2), seed=number),
    ],
)
def test_a_description_is_the_same_for_equal_settings_and_tells_others_apart(make):
    assert describe(make(2)) == describe(make(2))
    assert describe(make(2)) != describe(make(3))
    json.dumps(describe(make(2)))


def compiled(source: str) -> object:
    scope = {"__name__": "notebook", "F": F}
    exec(source, scope)
    return scope["made"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("made = lambda f: f + 1", "made = lambda f: f + 2"),
        ("made = lambda f: f + 1", "made = lambda f: f * 1"),
        ("made = lambda f: f.sin()", "made = lambda f: f.cos()"),
        ("K = 1\nmade = lambda f: f + K", "K = 2\nmade = lambda f: f + K"),
        ("made = lambda f: f in {'a', 'b'}", "made = lambda f: f in {'a', 'c'}"),
        (
            "def helper(f): return f + 1\ndef made(f): return helper(f)",
            "def helper(f): return f + 2\ndef made(f): return helper(f)",
        ),
        (
            "def made(f):\n    def inner(): return 1\n    return inner()",
            "def made(f):\n    def inner(): return 2\n    return inner()",
        ),
        (
            "class Loss:\n    def __call__(self, o, t): return F.mse_loss(o, t)\nmade = Loss()",
            "class Loss:\n    def __call__(self, o, t): return F.l1_loss(o, t)\nmade = Loss()",
        ),
        (
            "from torch import nn\nclass Net(nn.Module):\n    def forward(self, x): return x\n"
            "made = Net()",
            "from torch import nn\nclass Net(nn.Module):\n    def forward(self, x): return -x\n"
            "made = Net()",
        ),
    ],
)
def test_a_description_tells_code_and_the_constants_it_uses_apart(one, other):
    assert describe(compiled(one)) == describe(compiled(one))
    assert describe(compiled(one)) != describe(compiled(other))


def test_counters_and_other_private_or_written_state_are_no_settings():
    power_of_two = Power(2, note="a")
    before = describe(power_of_two)
    power_of_two(0.5)
    assert power_of_two.calls == 1
    assert describe(power_of_two) == before == describe(Power(2, note="b"))

    def counting():
        calls, log = 0, []

        def loss(output, target):
            nonlocal calls
            calls += 1
            log.append(calls)
            return output - target

        return loss

    loss = counting()
    before = describe(loss)
    loss(2, 1)
    assert describe(loss) == before


def test_a_function_that_calls_itself_and_an_object_that_holds_itself_can_be_described():
    def factorial(n):
        return 1 if n < 2 else n * factorial(n - 1)

    knot = Power(1)
    knot.itself = knot
    json.dumps([describe(factorial), describe(knot)])
    assert describe(factorial) == describe(factorial)


def test_the_structure_of_a_network_is_neither_its_weights_nor_its_mode():
    assert describe(structure(network(1))) == describe(structure(network(2).eval()))
    assert describe(structure(network())) != describe(structure(network()[0]))
