import os
import signal
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.small import ROWS, network, regression
from vsnn_lab import Stratified, fit
from vsnn_lab._basics.checkpoints import read, read_header, write

EPOCHS = 4
BATCH = 16
STEPS = ROWS // BATCH


def held_out() -> tuple[torch.Tensor, torch.Tensor]:
    x, y = regression()
    return x[::4], y[::4]


def run(model, folder=None, **settings):
    asked = {"data": regression(), "loss": F.mse_loss, "validation": held_out(), "epochs": EPOCHS}
    # One loss a step, which an interruption can count.
    asked |= {"batch_size": BATCH, "lr": 0.01, "progress": False, "checkpoint": folder}
    asked |= {"sampler": Stratified(4)}
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


@pytest.mark.skipif(os.name != "posix", reason="elsewhere nobody can ask for a process")
def test_a_killed_writers_half_file_goes_with_the_next_write_and_a_living_ones_stays(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    gone = [f".a-{ended.pid}", f".a-{10**30}"]
    kept = [f".a-{os.getppid()}", f".b-{ended.pid}", f".a-b-{ended.pid}", f"a-{ended.pid}", ".a-"]
    for name in gone + kept:
        (tmp_path / name).touch()
    write(tmp_path / "a", {"x": torch.ones(2)}, {})
    assert sorted(os.listdir(tmp_path)) == sorted(["a", *kept])
