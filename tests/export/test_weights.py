import itertools
import json
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file, save_model
from torch import nn

import vsnn_lab
from vsnn_lab import (
    MLP,
    Autoencoder,
    VariableLayerNorm,
    VariableLinear,
    Width,
    WidthControl,
    at_width,
    condition,
    extract,
    make_variable,
)
from vsnn_lab import load_weights as load
from vsnn_lab import save_weights as save
from vsnn_lab._basics import checkpoints


def variable(hidden: int = 12) -> nn.Module:
    return Autoencoder((1, 4, 4), Width(6), hidden=(hidden,))


class Tied(nn.Module):
    """One weight under two names, as in a language model's embedding and output."""

    def __init__(self, tie: bool = True):
        super().__init__()
        width = Width(4)
        self.first = VariableLinear(4, width, bias=False)
        self.last = VariableLinear(width, 4, bias=False)
        if tie:
            self.last.weight = self.first.weight = nn.Parameter(torch.randn(4, 4))

    def forward(self, x):
        return self.last(self.first(x))


def test_a_variable_network_comes_back_bitwise_equal_at_every_width(tmp_path):
    net, other = variable().eval(), variable()
    path = save(net, tmp_path / "deep" / "net.safetensors")
    load(other, str(path))
    assert other.training
    x = torch.rand(5, 1, 4, 4)
    for width in range(1, 7):
        with at_width(net, width), at_width(other, width):
            assert torch.equal(net(x), other(x))


SCRIPT = """
import sys; sys.modules["vsnn_lab"] = None
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file, save_model
from torch import nn
hand = nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 2))
hand.load_state_dict(load_file(sys.argv[1]))
print(hand(torch.ones(1, 5)).tolist())
"""


def test_a_submodel_loads_into_the_hand_written_network_without_the_package(tmp_path):
    net = MLP(5, (Width(8),), 2)
    path = save(net, tmp_path / "small.safetensors", width=3)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, str(path)], capture_output=True, text=True
    )
    with at_width(net, 3):
        expected = net(torch.ones(1, 5))
    torch.testing.assert_close(torch.tensor(json.loads(done.stdout)), expected, msg=done.stderr)


def test_the_header_says_what_the_file_holds(tmp_path):
    net = MLP(5, (Width(8),), 2)
    header = load(net, save(net, tmp_path / "a"))
    assert header == {
        "format": 1,
        "package": f"vsnn_lab {vsnn_lab.__version__}",
        "class": "vsnn_lab.networks.mlp.MLP",
        "architecture": repr(net),
        "steps": [8],
        "width": None,
    }
    header = checkpoints.read_header(save(net, tmp_path / "b", width=3))
    assert (header["class"], header["steps"], header["width"]) == (
        "torch.nn.modules.container.Sequential",
        [8],
        3,
    )
    assert "in_features=5, out_features=3" in header["architecture"]


def test_the_width_of_a_network_that_was_cut_before_is_noted(tmp_path):
    net = nn.Sequential(nn.Linear(5, 3))
    header = load(nn.Sequential(nn.Linear(5, 3)), save(net, tmp_path / "a", width=3))
    assert (header["steps"], header["width"]) == ([], 3)


def test_several_knobs_are_cut_by_a_dict_and_noted_in_the_order_of_the_modules(tmp_path):
    first, second = Width(4), Width(6)
    path = save(MLP(3, (first, second), 2), tmp_path / "a", width={second.control: 5})
    assert checkpoints.read_header(path)["width"] == [4, 5]
    assert {key: tuple(value.shape) for key, value in load_file(path).items()} == {
        "0.weight": (4, 3),
        "0.bias": (4,),
        "2.weight": (5, 4),
        "2.bias": (5,),
        "4.weight": (2, 5),
        "4.bias": (2,),
    }


def test_tied_weights_come_back_tied(tmp_path):
    net, other = Tied(), Tied()
    load(other, save(net, tmp_path / "a"))
    assert other.first.weight is other.last.weight
    x = torch.randn(3, 4)
    assert torch.equal(other(x), x @ net.first.weight.T @ net.first.weight.T)


def test_different_weights_are_not_forced_into_a_tied_one(tmp_path):
    path = save(Tied(tie=False), tmp_path / "a")
    net = Tied()
    before = net.first.weight.clone()
    with pytest.raises(ValueError, match=r"last\.weight and first\.weight are one tensor, in the"):
        load(net, path)
    assert torch.equal(net.first.weight, before)


def test_buffers_and_dtypes_come_back(tmp_path):
    net, other = (nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).double() for _ in range(2))
    net(torch.randn(7, 2, dtype=torch.float64))
    load(other, save(net, tmp_path / "a"))
    for key, value in net.state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key


def test_positions_of_another_knob_are_not_taken_for_this_ones(tmp_path):
    def network(steps):
        return MLP(5, (WidthControl(steps).axis(8),), 2)

    path = save(network(4), tmp_path / "a")
    other = network(8)
    before = other[0].weight.clone()
    with pytest.raises(ValueError, match=r"knobs of \[4\] steps, as .*a says, got \[8\]"):
        load(other, path)
    assert torch.equal(other[0].weight, before)
    plain = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2))
    load(plain, path)
    load(other, save(plain, tmp_path / "b"))
    assert torch.equal(other[0].weight, plain[0].weight)


def axes_of(kind):
    """Return a network of 12 hidden units and 4 positions that keeps others of them."""
    rounded, even = WidthControl(4, rounded=True), WidthControl(4)
    axis = {
        "even": even.axis(12),
        "rounded, and even": rounded.axis(12),
        "heads": rounded.axis(6) * 2,
        "sum": even.axis(4) + even.axis(8),
        "part whole": even.axis(8) + 4,
        "swapped": even.axis(8) + even.axis(4),
    }[kind]
    return nn.Sequential(VariableLinear(5, axis), VariableLayerNorm(axis), VariableLinear(axis, 2))


KINDS = ["even", "heads", "sum", "part whole", "swapped"]


@pytest.mark.parametrize(("kind", "other"), [*itertools.permutations(KINDS, 2)])
def test_axes_that_keep_other_units_are_not_taken_for_these(tmp_path, kind, other):
    path, net = save(axes_of(kind), tmp_path / "a"), axes_of(other)
    before = net[0].weight.clone()
    with pytest.raises(ValueError, match=r"axes that .*a says, got 0\.out_axis of .*other units"):
        load(net, path)
    assert torch.equal(net[0].weight, before)


@pytest.mark.parametrize("kind", ["heads", "sum", "part whole", "rounded, and even"])
def test_axes_of_a_file_are_those_of_the_same_network(tmp_path, kind):
    net, other = axes_of(kind), axes_of(kind)
    header = load(other, save(net, tmp_path / "a"))
    assert torch.equal(other[0].weight, net[0].weight)
    assert ("axes" in header) == (kind != "rounded, and even")
    assert header.get("rounded") == ([True] if kind in ("heads", "rounded, and even") else None)
    small = save(net, tmp_path / "b", width=2)
    assert "axes" not in load(extract(other, 2), small)


def test_a_rounded_knob_whose_axes_it_divides_takes_the_file_of_one_that_is_not(tmp_path):
    even, rounded = axes_of("even"), axes_of("rounded, and even")
    load(rounded, save(even, tmp_path / "a"))
    load(even, save(rounded, tmp_path / "b"))


def test_a_file_from_before_axes_were_told_fits_even_ones_alone(tmp_path):
    net = axes_of("heads")
    path = save(net, tmp_path / "a")
    header = {
        k: v for k, v in checkpoints.read_header(path).items() if k not in ("axes", "rounded")
    }
    old = checkpoints.write(tmp_path / "old.safetensors", net.state_dict(), header)
    load(axes_of("even"), old)
    with pytest.raises(ValueError, match=r"axes that .* says"):
        load(axes_of("heads"), old)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("rounded", 1), ("axes", [3]), ("axes", {"0.out_axis": 3})),
        *(("paces", each) for each in ([3.0], {"0": 3.0}, {"0": [3.0]}, {"0": [3.0, "1"]})),
    ],
)
def test_what_a_damaged_header_tells_is_refused(tmp_path, key, value):
    net = axes_of("heads")
    header = checkpoints.read_header(save(net, tmp_path / "a")) | {key: value}
    path = checkpoints.write(tmp_path / "b.safetensors", net.state_dict(), header)
    with pytest.raises(ValueError, match=f"its header must tell {key}"):
        load(net, path)


def with_own_weights(**paces: float) -> MLP:
    net = MLP(3, (Width(8),), 2)
    condition(net, **paces)
    for weight in net.parameters():
        nn.init.normal_(weight)
    return net


@pytest.mark.parametrize("other", [{}, {"pace": 2}, {"pace": 3, "wide_pace": 2.5}])
def test_own_weights_are_not_taken_for_those_of_another_pace(tmp_path, other):
    path, net = save(with_own_weights(pace=3), tmp_path / "a"), with_own_weights(**other)
    before = net[0].weight.clone()
    with pytest.raises(ValueError, match=r"paces that .*a says, got 0 of .*count otherwise"):
        load(net, path)
    assert torch.equal(net[0].weight, before)


def test_own_weights_of_the_same_pace_load_and_count_as_much(tmp_path):
    net, other = (with_own_weights(pace=3, wide_pace=2) for _ in range(2))
    header = load(other, save(net, tmp_path / "a"))
    assert header["paces"] == {"0": [3.0, 2.0], "2": [3.0, 2.0]}
    x = torch.randn(4, 3)
    for width in range(1, 9):
        with at_width(net, width), at_width(other, width):
            assert torch.equal(net(x), other(x))
    assert "paces" not in load(extract(other, 2), save(net, tmp_path / "b", width=2))
    del header["paces"]  # as in files of earlier versions
    load(other, checkpoints.write(tmp_path / "old.safetensors", net.state_dict(), header))


def test_the_best_weights_of_a_run_load_too(tmp_path):
    net, other = variable(), variable()
    path = checkpoints.write(tmp_path / "best.safetensors", net.state_dict(), {"epochs": []})
    assert load(other, path) == {"epochs": []}
    assert torch.equal(other.encoder[1].weight, net.encoder[1].weight)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            variable(hidden=11),
            r"a holds, vsnn_lab\.networks\.autoencoders\.Autoencoder, got other tensors: "
            r"encoder\.1\.weight has shape \(11, 16\), in the file \(12, 16\); .*; and 1 more",
        ),
        (
            nn.Sequential(variable().encoder),
            r"0\.1\.weight is not in the file; .*; and 7 more",
        ),
        (nn.ReLU(), r"decoder\.0\.weight is only in the file; .*; and 3 more"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_key_by_key_and_changes_nothing(
    tmp_path, other, message
):
    path = save(variable(), tmp_path / "a")
    before = {key: value.clone() for key, value in other.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        load(other, path)
    assert all(torch.equal(value, before[key]) for key, value in other.state_dict().items())


def test_a_submodel_that_does_not_fit_tells_its_width(tmp_path):
    path = save(MLP(5, (Width(8),), 2), tmp_path / "a", width=3)
    with pytest.raises(ValueError, match=r"container\.Sequential of width 3, got other tensors"):
        load(MLP(5, (Width(8),), 2), path)


def test_a_file_of_a_later_format_is_refused(tmp_path):
    path = checkpoints.write(tmp_path / "a", {}, {"format": 2, "package": "vsnn_lab 9.0"})
    with pytest.raises(ValueError, match=r"format 1, got .*a of format 2; vsnn_lab 9\.0 wrote it"):
        load(nn.ReLU(), path)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        load(variable(), tmp_path / "nothing")


def foreign(path, state, **metadata):
    """Write a file as other programs do: contiguous tensors, and strings about them if any."""
    save_file({key: value.contiguous() for key, value in state.items()}, path, metadata or None)
    return path


@pytest.mark.parametrize("metadata", [{}, {"format": "pt"}, {"format": "pt", "width": "wide"}])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_file_of_another_program_loads_if_names_and_shapes_fit(tmp_path, metadata, dtype):
    net = nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 2, 1))
    state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in net.state_dict().items()}
    path = foreign(tmp_path / "timm.safetensors", state, **metadata)
    other = make_variable(nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 2, 1)))
    assert load(other, path) == {}
    for key, value in other.state_dict().items():
        assert torch.equal(value, state[key].to(value.dtype)), key
    small = extract(other, 2)
    assert load(small, foreign(tmp_path / "small", small.state_dict())) == {}


def test_a_tensor_that_a_model_ties_may_be_in_such_a_file_once(tmp_path):
    net, other = Tied(), Tied()
    save_model(net, str(tmp_path / "once.safetensors"))
    assert len(load_file(tmp_path / "once.safetensors")) == 1
    load(other, tmp_path / "once.safetensors")
    assert torch.equal(other.first.weight, net.first.weight)
    assert other.first.weight is other.last.weight
    apart = Tied(tie=False)
    with pytest.raises(ValueError, match=r"of another program, got .* is not in the file$"):
        load(apart, tmp_path / "once.safetensors")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            {"weight": torch.ones(3, 2)},
            r"of another program, got .*: bias is not in the file",
        ),
        (
            {"weight": torch.ones(3, 9), "bias": torch.ones(3)},
            r"weight has shape \(3, 2\), in the file \(3, 9\)",
        ),
        (
            {"model.weight": torch.ones(3, 2), "model.bias": torch.ones(3)},
            r"weight is not in the file; .*; model\.bias is only in the file",
        ),
    ],
)
def test_a_file_of_another_program_that_does_not_fit_changes_nothing(tmp_path, state, message):
    net = nn.Linear(2, 3)
    before = net.weight.clone()
    with pytest.raises(ValueError, match=message):
        load(net, foreign(tmp_path / "a", state))
    assert torch.equal(net.weight, before)


def test_a_file_of_torch_is_called_what_it_is(tmp_path):
    net = nn.Linear(2, 3)
    for name, content in (("state", net.state_dict()), ("model", net), ("tensor", net.weight)):
        torch.save(content, tmp_path / name)
        with pytest.raises(ValueError, match=rf"got .*{name}, an archive as of torch\.save"):
            load(net, tmp_path / name)


def test_a_file_of_ours_without_its_header_is_damaged_and_not_taken_for_another_programs(tmp_path):
    net = nn.Linear(2, 3)
    with safe_open(save(net, tmp_path / "a"), framework="pt") as file:
        metadata = file.metadata()
    path = foreign(tmp_path / "b", net.state_dict(), digest=metadata["digest"])
    with pytest.raises(ValueError, match="b is damaged or no file of this package"):
        load(net, path)
    with pytest.raises(ValueError, match="c is damaged or no file of this package"):
        checkpoints.read_header(foreign(tmp_path / "c", net.state_dict()))


class Stateful(nn.Linear):
    def get_extra_state(self):
        return {"anything": 1}


@pytest.mark.parametrize(
    ("model", "width", "error", "message"),
    [
        ("net", None, TypeError, r"model must be a torch\.nn\.Module, got 'net'"),
        (variable(), 7, ValueError, r"width must lie in 1\.\.6, got 7"),
        (variable(), 2.0, TypeError, r"width must be an integer in 1\.\.6, got 2\.0"),
        (nn.Linear(2, 2), 0, ValueError, "width must be at least 1, got 0"),
        (nn.Linear(2, 2), {WidthControl(2): 1}, TypeError, "width must be an integer"),
        (Stateful(2, 2), None, TypeError, "must keep tensors only, got _extra_state of dict"),
    ],
)
def test_what_cannot_be_saved_is_refused_and_leaves_no_file(tmp_path, model, width, error, message):
    with pytest.raises(error, match=message):
        save(model, tmp_path / "a", width=width)
    assert not list(tmp_path.iterdir())
