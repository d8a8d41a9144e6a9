"""Training with `torch.compile`: the same numbers, a bounded number of graphs, never in silence."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vsnn_lab import (
    MLP,
    Autoencoder,
    ConvNet,
    Distilled,
    LogUniform,
    Stratified,
    Width,
    at_width,
    extract,
    fit,
    make_variable,
)
from vsnn_lab.train import compiled

ROWS, CPU = 40, torch.device("cpu")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, about itself


def dense() -> nn.Module:
    hidden = Width(8)
    return MLP(6, (hidden, hidden), 3)


def octaves() -> nn.Module:
    hidden = Width(8)
    return MLP(6, (hidden, hidden), 3, conditioned=True)


def noisy() -> nn.Module:
    hidden = Width(8)
    return nn.Sequential(MLP(6, (hidden,), 5), nn.ReLU(), nn.Dropout(0.3), nn.Linear(5, 3))


def convolutional() -> nn.Module:
    return ConvNet((1, 6, 6), (Width(4),), 3)


def autoencoder() -> nn.Module:
    return Autoencoder((1, 6, 6), Width(4), hidden=(5,))


def converted() -> nn.Module:
    plain = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))
    return make_variable(plain, torch.randn(2, 6))


class Surprising(nn.Module):
    """What no graph holds: Python that asks for a number."""

    def __init__(self) -> None:
        super().__init__()
        self.body = dense()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x) * (2.0 if x.mean().item() > 0 else 1.0)


def training(build) -> tuple[nn.Module, tuple, object]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = build()
    images = build in (convolutional, autoencoder)
    x = torch.randn(ROWS, *((1, 6, 6) if images else (6,)))
    if build is autoencoder:
        return model, (x, x.sigmoid()), F.mse_loss
    return model, (x, torch.arange(ROWS) % 3), F.cross_entropy


def train(model, data, loss, **settings):
    how = {"epochs": 2, "batch_size": 16, "validation": None, "progress": False}
    return fit(model, data, loss, **how | settings)


def losses(history) -> list[float]:
    return [row["train_loss"] for row in history.epochs]


def same_as_without(build, **settings):
    """Train a network twice, with `torch.compile` and without, and return the former's history."""
    model, data, loss = training(build)
    twin = copy.deepcopy(model)
    expected = train(twin, data, loss, **settings)
    found = train(model, data, loss, compile=True, **settings)
    assert losses(found) == pytest.approx(losses(expected), rel=1e-5)
    assert list(model.state_dict()) == list(twin.state_dict())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, twin.state_dict()[name], rtol=1e-3, atol=1e-5)
    assert expected.graphs is None
    return found


@pytest.fixture
def traced(monkeypatch):
    """Graphs that are traced as ever and then run by Python, which takes no compiler."""
    monkeypatch.setattr(compiled, "missing_compiler", lambda device: None)
    monkeypatch.setattr(compiled, "compile_by_inductor", lambda graph, _: graph.forward)


@pytest.mark.slow
@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(
    ("build", "settings", "most"),
    [
        (dense, {}, 6),
        (octaves, {}, 8),
        (convolutional, {"sampler": Stratified(2)}, 6),
        (autoencoder, {"recipe": Distilled(LogUniform())}, 12),
        (converted, {"recipe": Distilled()}, 6),
        (noisy, {"precision": "bf16", "accumulate": 2, "clip": 0.5}, 6),
    ],
    ids=["dense", "octaves", "convolutional", "autoencoder", "converted", "noisy"],
)
def test_graphs_give_the_numbers_that_python_gives(build, settings, most):
    history = same_as_without(build, **settings)
    assert 1 <= history.graphs <= most


@pytest.mark.slow
@pytest.mark.usefixtures("traced")
def test_an_octave_takes_one_graph_and_not_one_for_each_of_its_widths():
    hidden = Width(64)
    model, x = MLP(6, (hidden,), 3, conditioned=True), torch.randn(ROWS, 6)
    compiler = compiled.StepCompiler(model, [hidden.control], CPU)
    with compiler.quiet(), compiler.step():
        for width in (64, 33, 40, 47, 52, 59, 63):
            with at_width(model, width):
                torch.testing.assert_close(model(x), extract(model, width)(x))
    assert compiler.graphs <= 4  # full width, the first, and those whose size may vary


@pytest.mark.slow
def test_inductor_gives_the_numbers_that_python_gives():
    if missing := compiled.missing_compiler(CPU):
        pytest.skip(missing)
    assert same_as_without(noisy, recipe="distilled").graphs


def test_without_a_compiler_a_training_runs_as_ever_and_says_so(monkeypatch):
    monkeypatch.setattr(compiled, "missing_compiler", lambda device: "no C++ compiler was found")
    with pytest.warns(RuntimeWarning, match="needs a compiler: no C.. compiler was found; steps"):
        assert same_as_without(dense).graphs == 0


def test_several_processes_run_as_ever_and_say_so():
    hidden = Width(4)
    with pytest.warns(RuntimeWarning, match="compile=True is for one process, got 2; steps run"):
        compiler = compiled.StepCompiler(MLP(6, (hidden,), 3), [hidden.control], CPU, processes=2)
    assert compiler.eager


def test_a_compiler_that_is_not_there_is_found_missing(monkeypatch):
    def search(*_):
        raise RuntimeError("No working C++ compiler found\nin no place")

    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", search)
    found = compiled.missing_compiler(CPU)
    assert found == "No working C++ compiler found"


@pytest.mark.usefixtures("traced")
def test_a_graph_that_the_compiler_cannot_make_is_run_by_python(monkeypatch):
    def fail(*_):
        raise OSError("out of registers")

    monkeypatch.setattr(compiled, "compile_by_inductor", fail)
    with pytest.warns(RuntimeWarning, match=r"MLP cannot be compiled at .*out of registers"):
        assert same_as_without(dense).graphs == 0


@pytest.mark.usefixtures("traced")
def test_what_no_graph_holds_is_run_by_python():
    with pytest.warns(RuntimeWarning, match="Surprising cannot be compiled at .* without torch"):
        assert same_as_without(Surprising).graphs == 0


@pytest.mark.usefixtures("traced")
def test_no_more_graphs_are_made_than_the_bound_says(monkeypatch):
    monkeypatch.setattr(compiled, "MOST_GRAPHS", 2)
    with pytest.warns(RuntimeWarning, match="2 graphs were compiled, and a training makes no more"):
        assert same_as_without(dense).graphs == 2


@pytest.mark.usefixtures("traced")
def test_hooks_run_and_nothing_is_compiled():
    model, data, loss = training(dense)
    calls = []
    model[0].register_forward_hook(lambda *_: calls.append(1))
    with pytest.warns(RuntimeWarning, match="takes no hooks, got one of VariableLinear at '0'"):
        history = train(model, data, loss, epochs=1, compile=True)
    assert history.graphs == 0
    assert len(calls) >= 6  # full width and some narrow ones, in three steps


@pytest.mark.usefixtures("traced")
def test_model_and_torch_are_as_they_were_also_after_an_error():
    model, data, _ = training(dense)
    attributes, config = set(vars(model)), torch._dynamo.config
    names = ("recompile_limit", "allow_unspec_int_on_nn_module", "fail_on_recompile_limit_hit")
    before = [getattr(config, name, None) for name in names]
    seen = []

    def loss(output, target):
        seen.append("_compiled_call_impl" in vars(model))
        if len(seen) > 3:
            raise ArithmeticError("enough")
        return F.cross_entropy(output, target)

    with pytest.raises(ArithmeticError, match="enough"):
        train(model, data, loss, compile=True)
    assert all(seen)
    assert set(vars(model)) == attributes
    assert [getattr(config, name, None) for name in names] == before
    assert torch.equal(copy.deepcopy(model)(data[0]), model(data[0]))


@pytest.mark.usefixtures("traced")
def test_a_compiled_run_and_its_checkpoint_go_on_without_compiling(tmp_path):
    model, data, loss = training(dense)
    twin = copy.deepcopy(model)
    first = train(model, data, loss, compile=True, checkpoint=tmp_path)
    second = train(twin, data, loss, checkpoint=tmp_path)
    assert (first.resumed_at, second.resumed_at) == (0, 2)
    assert losses(first) == losses(second)
    for one, other in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_compile_that_makes_no_sense_is_refused():
    model, data, loss = training(dense)
    with pytest.raises(TypeError, match="compile must be True or False, got 'yes'"):
        train(model, data, loss, compile="yes")
    with pytest.raises(ValueError, match=r"compile must be False for what torch\.compile"):
        train(torch.compile(model), data, loss, compile=True)
