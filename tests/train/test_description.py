import functools
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests import small
from tests.small import ROWS, network, regression
from vsnn_lab import Stratified, Triangular, VariableLayerNorm, Weighted, WidthControl, fit
from vsnn_lab.data.batches import TensorBatches
from vsnn_lab.train.description import describe, structure


def run(model, folder, **settings):
    asked = {"data": regression(), "loss": F.mse_loss, "epochs": 1, "batch_size": 16}
    return fit(model, **asked | {"checkpoint": folder, "progress": False} | settings)


DESCRIBED = """
import functools, json
from pathlib import Path
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from vsnn_lab import MLP, Interpolated, Stratified, Weighted, Width
from vsnn_lab.data.batches import TensorBatches
from vsnn_lab.train.description import describe, structure

POWER = 2
def loss(output, target, kind="mse"):
    assert kind in {"mse", "mae", "huber", "other"}
    return F.mse_loss(output, target) + sum(abs(x) for x in (1, 2))
class Loss:
    _path = Path("b")
    def __init__(self): self._generator, self._random = torch.Generator(), np.random.default_rng()
    def __call__(self, output, target): return F.l1_loss(output, target) * POWER
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
    torch.Tensor.abs, np.exp, np.random.default_rng(0), Path("a"), np, Loss(), {F.relu: 1},
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
    def __init__(self, exponent):
        self.exponent, self.calls, self._calls = exponent, 0, 0

    @torch.no_grad()
    def __call__(self, fraction):
        self.calls += 1
        self._calls += 1
        return fraction**self.exponent

    def weigh(self, fraction):
        return fraction**self.exponent


class Private:
    def __init__(self, exponent):
        self._exponent = exponent

    def __call__(self, fraction):
        return fraction**self._exponent


class PrivatelySlotted:
    __slots__ = ("_exponent",)

    def __init__(self, exponent):
        self._exponent = exponent


class PartlySlotted(Private):
    __slots__ = ("_power",)

    def __init__(self, exponent):
        super().__init__(2)
        self._power = exponent


class Steps(list):
    def __init__(self, exponent):
        super().__init__([1, 2])
        self.exponent = exponent


class PrivateModule(nn.Module):
    def __init__(self, exponent):
        super().__init__()
        self._exponent = exponent


class BufferModule(nn.Module):
    def __init__(self, exponent):
        super().__init__()
        self.register_buffer("exponent", torch.tensor(exponent), persistent=False)


def used_by_a_function(weight):
    return lambda fraction: 1 - weight(fraction)


class Slotted:
    __slots__ = ("exponent",)

    def __init__(self, exponent):
        self.exponent = exponent

    def __repr__(self):
        return f"Slotted({self.exponent})"


class ListModule(nn.Module):
    def __init__(self, exponent):
        super().__init__()
        self.exponents = [1, exponent]

    def forward(self, x):
        return x ** self.exponents[1]


def of_a_list(number):
    weights = [1.0, {"b": number}]
    return lambda output, target: weights[0] * output - weights[1]["b"] * target


def of_an_object(number):
    settings = SimpleNamespace(exponent=number)
    return lambda output, target: (output - target) ** settings.exponent


def cross_entropy(smoothing):
    return nn.CrossEntropyLoss(label_smoothing=smoothing)


@pytest.mark.parametrize(
    "make",
    [
        power,
        with_default,
        Power,
        Private,
        PrivatelySlotted,
        PartlySlotted,
        Steps,
        PrivateModule,
        BufferModule,
        Slotted,
        cross_entropy,
        lambda number: Power(number).weigh,
        lambda number: used_by_a_function(Private(number)),
        lambda number: functools.partial(power, exponent=number),
        lambda number: functools.partial(power, number),
        lambda number: lambda fraction: power(number)(fraction),
        of_a_list,
        of_an_object,
        lambda number: nn.Sequential(ListModule(number)),
        lambda number: Weighted(power(number)),
        lambda number: {"a": [1, (number, None)]},
        lambda number: {number, 7},
        lambda number: {number: 7},
        lambda number: np.float64(number),
        lambda number: np.array([number, 7]),
        lambda number: np.array([[number], "a"], object),
        lambda number: torch.Generator().manual_seed(number),
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
    scope = {"__name__": "notebook", "F": F, "nn": nn}
    exec(source, scope)
    return scope["made"]


@pytest.mark.parametrize(
    ("source", "one", "other"),
    [
        ("made = lambda f: f + 1", "1", "2"),
        ("made = lambda f: f + 1", "+", "*"),
        ("made = lambda f: f.sin()", "sin", "cos"),
        ("made = lambda f: f in {'a', 'b'}", "'b'", "'c'"),
        ("K = 1\nmade = lambda f: f + K", "1", "2"),
        ("def helper(f): return f + 1\ndef made(f): return helper(f)", "1", "2"),
        ("class A:\n    def k(self): return 1\ndef made(f): return A().k() * f", "1", "2"),
        ("def made(f):\n    def inner(): return 1\n    return inner()", "1", "2"),
        (
            "class A:\n    def __call__(self, o, t): return F.mse_loss(o, t)\nmade = A()",
            "mse",
            "l1",
        ),
        ("K = 1\nclass A:\n    def __call__(self, o, t): return K * o\nmade = A()", "1", "2"),
        ("class A:\n    K = 1\n    def __call__(self, o): return self.K * o\nmade = A()", "1", "2"),
        ("class A:\n    @staticmethod\n    def k(): return 1\nmade = A()", "1", "2"),
        ("class A:\n    @classmethod\n    def k(cls): return 1\nmade = A()", "1", "2"),
        ("class A:\n    @property\n    def k(self): return 1\nmade = A()", "1", "2"),
        ("class A(nn.Module):\n    def forward(self, x): return +x\nmade = A()", "+", "-"),
    ],
)
def test_a_description_tells_code_and_the_constants_it_uses_apart(source, one, other):
    assert describe(compiled(source)) == describe(compiled(source))
    assert describe(compiled(source)) != describe(compiled(source.replace(one, other)))


def test_what_code_uses_of_a_module_is_told_apart_and_the_rest_of_it_is_not(monkeypatch):
    monkeypatch.setattr(small, "SCALE", 1, raising=False)

    def scaled(output, target):
        return small.SCALE * F.mse_loss(output, target)

    before = describe(scaled)
    monkeypatch.setattr(small, "OTHER", 1, raising=False)
    assert describe(scaled) == before
    monkeypatch.setattr(small, "SCALE", 2)
    assert describe(scaled) != before


def test_what_code_writes_while_it_runs_is_no_setting():
    power_of_two = Power(2)
    before = describe(power_of_two)
    power_of_two(0.5)
    assert power_of_two.calls == power_of_two._calls == 1
    assert describe(power_of_two) == before

    batches = TensorBatches(torch.ones(2), torch.ones(2))
    before = describe(batches)
    list(batches)
    batches.set_epoch(5)
    assert describe(batches) == before

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


def test_a_data_loader_is_the_same_setting_after_it_was_read():
    loader = torch.utils.data.DataLoader(torch.arange(6), batch_size=2, shuffle=True)
    before = describe(loader)
    assert len(list(loader)) == len(loader) == 3
    assert describe(loader) == before
    other = torch.utils.data.DataLoader(torch.arange(6), batch_size=3, shuffle=True)
    assert describe(other) != before


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


def test_the_structure_of_a_network_tells_which_of_its_weights_are_trained():
    frozen = network()
    frozen[2].bias.requires_grad_(False)
    assert describe(structure(frozen)) != describe(structure(network()))


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
        history = run(network(), tmp_path, **variant)
        assert history.resumed_at == 0, variant
        folders.append(history.folder)
    folders.append(run(network(seed=4), tmp_path).folder)
    assert len(set(folders)) == len(folders)
    again = run(network(), tmp_path)
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
    folders = {run(Scaled(*settings), tmp_path).folder for settings in made}
    assert len(folders) == len(made)
    assert run(Scaled(2.0, torch.tanh), tmp_path).resumed_at == 1


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
    run(model, tmp_path)
    assert run(model.eval(), tmp_path).resumed_at == 1


def test_networks_whose_positions_keep_other_units_are_runs_of_their_own():
    rounded, even = WidthControl(4, rounded=True), WidthControl(4)
    axes = [even.axis(12), rounded.axis(6) * 2, even.axis(4) + even.axis(8), even.axis(8) + 4]
    axes.append(even.axis(8) + even.axis(4))
    # A norm does not show its axis.
    described = [json.dumps(describe(structure(VariableLayerNorm(axis)))) for axis in axes]
    assert len(set(described)) == len(axes)
    assert described[1] == json.dumps(describe(structure(VariableLayerNorm(rounded.axis(6) * 2))))
