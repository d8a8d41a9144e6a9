import math
import os
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from vsnn_lab import (
    MLP,
    Autoencoder,
    VariableLinear,
    Width,
    WidthControl,
    at_width,
    export_onnx,
    extract,
    verify_extraction,
)

# Torch's own: it pickles what it has deprecated, and names one axis after the other.
exporting = pytest.mark.filterwarnings(
    "ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning",
    "ignore:# The axis name. batch will not be used:UserWarning",
)


class Pair(NamedTuple):
    first: torch.Tensor
    second: torch.Tensor


class Nested(nn.Module):
    """Returns tensors in every container; ``error`` is put where only one network has it."""

    def __init__(self, error: float = 0.0):
        super().__init__()
        self.width = Width(6)
        self.up = VariableLinear(3, self.width)
        self.down = VariableLinear(self.width, 2)
        self.error = error

    def forward(self, x):
        y = self.down(self.up(x).relu())
        # An int once it is extracted.
        wrong = self.error if isinstance(self.width, int) else 0.0
        return {"out": y, "rest": [y > 0, Pair(y * 2, None), (y.sum(1) + wrong,)], "no": None}


class Weighted(nn.Module):
    """Takes two arguments."""

    def __init__(self):
        super().__init__()
        self.net = MLP(3, (Width(6),), 2)

    def forward(self, x, scale):
        return {"scaled": self.net(x) * scale, "plain": self.net(x)}


def test_an_extracted_network_deviates_by_rounding_at_every_width():
    net, x = Autoencoder((1, 4, 4), Width(6), hidden=(12,)), torch.rand(5, 1, 4, 4)
    for width in range(1, 7):
        deviation = verify_extraction(net, width, x)
        assert isinstance(deviation, float)
        assert deviation < 1e-6


@pytest.mark.parametrize(
    ("error", "deviation"),
    [(0.0, 0.0), (0.5, 0.5), (-2.0, 2.0), (math.nan, math.inf), (math.inf, math.inf)],
)
def test_the_largest_deviation_is_found_in_the_depth_of_an_output(error, deviation):
    # Full width: the same arithmetic, so that nothing else deviates.
    found = verify_extraction(Nested(error), 6, torch.randn(4, 3))
    assert found == pytest.approx(deviation, abs=1e-6)


def test_what_is_no_number_on_both_sides_does_not_deviate():
    x = torch.tensor([[torch.nan, 1.0, 2.0], [torch.inf, 1.0, 2.0]])
    assert verify_extraction(MLP(3, (Width(4),), 2), 4, x) == 0


def test_modes_knobs_inputs_gradients_and_torchs_random_state_stay():
    net = nn.Sequential(nn.ReLU(inplace=True), MLP(3, (Width(8),), 2), nn.Dropout(0.5))
    net[1].eval()
    x = torch.randn(4, 3, requires_grad=True)
    before, state = x.detach().clone(), torch.get_rng_state()
    with at_width(net, 2):
        assert verify_extraction(net, 5, x) < 1e-6
        assert net[1][0].out_axis.control.position == 2
    assert [module.training for module in net] == [True, False, True]
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(value.grad is None for value in (x, *net.parameters()))


def test_modes_and_knobs_are_put_back_after_an_error():
    net = MLP(3, (Width(8),), 2)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        verify_extraction(net, 5, torch.ones(4, 7))
    assert net.training
    assert net[0].out_axis.control.position == 8


def test_several_knobs_and_several_arguments_are_verified():
    first, second = Width(4), Width(6)
    net = MLP(3, (first, second), 2)
    assert verify_extraction(net, {second.control: 2}, torch.randn(4, 3)) < 1e-6
    assert verify_extraction(Weighted(), 2, (torch.randn(4, 3), torch.randn(4, 2))) < 1e-6


def test_outputs_of_different_shapes_are_no_deviation_but_an_error():
    class Padded(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = VariableLinear(3, Width(4))

        def forward(self, x):
            # Always as wide as its weight, which the cut made smaller.
            return nn.functional.pad(self.layer(x), (0, self.layer.weight.shape[0]))

    with pytest.raises(ValueError, match=r"got shapes \{'output': \(2, 6\)\} .* \(2, 4\)"):
        verify_extraction(Padded(), 2, torch.ones(2, 3))


@pytest.mark.parametrize(
    ("width", "inputs", "error", "message"),
    [
        (5, torch.ones(2, 3), ValueError, r"width must lie in 1\.\.4, got 5"),
        (2.0, torch.ones(2, 3), TypeError, "width must be an integer"),
        (torch.tensor([1, 2]), torch.ones(2, 3), TypeError, "got a tensor of shape"),
        (2, np.ones((2, 3)), TypeError, "inputs must be a tensor, .*, got ndarray"),
    ],
)
def test_bad_arguments_are_refused_before_any_work(width, inputs, error, message, monkeypatch):
    net = MLP(3, (Width(4),), 2)
    monkeypatch.setattr(nn.Module, "__call__", lambda *_: pytest.fail("the network ran"))
    with pytest.raises(error, match=message):
        verify_extraction(net, width, inputs)


def test_an_output_that_is_no_tensor_is_refused_by_its_place():
    class Named(nn.Linear):
        def forward(self, x):
            return [super().forward(x), {"name": "x"}]

    with pytest.raises(TypeError, match=r"or dicts of them, got str as output\[1\]\['name'\]"):
        verify_extraction(Named(2, 2), 1, torch.ones(1, 2))


@exporting
def test_onnxruntime_agrees_with_the_variable_network_at_any_batch_size(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    net = Autoencoder((1, 4, 4), Width(6), hidden=(12,))
    path = tmp_path / "deep" / "net.onnx"
    deviation = export_onnx(net, 3, str(path), torch.rand(5, 1, 4, 4))
    assert 0 <= deviation < 1e-5
    assert net.training
    assert os.listdir(path.parent) == ["net.onnx"]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    assert taken.shape == ["batch", 1, 4, 4]
    for batch in (1, 2, 5, 64):
        x = torch.rand(batch, 1, 4, 4)
        (found,) = session.run(None, {taken.name: x.numpy()})
        with at_width(net, 3):
            torch.testing.assert_close(torch.tensor(found), net(x))


@exporting
def test_a_network_of_two_arguments_and_outputs_is_exported_in_evaluation_mode(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    net = Weighted()
    net.net.append(nn.BatchNorm1d(2))
    net.net.append(nn.Dropout(0.9))
    # A single row, which batch norm in training would refuse.
    inputs = torch.randn(1, 3), torch.randn(1, 2)
    assert export_onnx(net, 2, tmp_path / "a.onnx", inputs) < 1e-5
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    assert len(session.get_inputs()) == len(session.get_outputs()) == 2


@exporting
def test_a_deviation_above_the_tolerance_is_an_error_and_leaves_the_file_as_it_was(
    tmp_path, monkeypatch
):
    onnxruntime = pytest.importorskip("onnxruntime")
    run = onnxruntime.InferenceSession.run

    def wrong_alone(self, names, feed):
        # Only the second check, with a batch of one, sees it.
        (x,) = feed.values()
        return [value + 0.25 * (len(x) == 1) for value in run(self, names, feed)]

    monkeypatch.setattr(onnxruntime.InferenceSession, "run", wrong_alone)
    net, x = MLP(3, (Width(4),), 2), torch.randn(4, 3)
    message = r"onnxruntime deviates by, got 0\.2 and a deviation of 0\.25; nothing was written"
    (tmp_path / "old.onnx").write_text("old")
    for name in ("old.onnx", "new.onnx"):
        with pytest.raises(ValueError, match=message):
            export_onnx(net, 2, tmp_path / name, x, tolerance=0.2)
    assert os.listdir(tmp_path) == ["old.onnx"]
    assert (tmp_path / "old.onnx").read_text() == "old"
    assert export_onnx(net, 2, tmp_path / "new.onnx", x, tolerance=1) == pytest.approx(0.25)


@exporting
def test_a_crash_while_writing_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    (tmp_path / "a.onnx").write_text("old")

    def crash(*_):
        raise KeyboardInterrupt("crash")

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt, match="crash"):
        export_onnx(MLP(3, (Width(4),), 2), 2, tmp_path / "a.onnx", torch.randn(4, 3))
    assert os.listdir(tmp_path) == ["a.onnx"]
    assert (tmp_path / "a.onnx").read_text() == "old"


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_with_what_brings_it(tmp_path, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=rf"needs {missing}, .*; pip install vsnn-lab\[onnx\]"):
        export_onnx(MLP(3, (Width(4),), 2), 2, tmp_path / "a.onnx", torch.randn(4, 3))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"width": 5}, ValueError, r"width must lie in 1\.\.4, got 5"),
        ({"inputs": [torch.ones(2, 3)]}, TypeError, "or a tuple of tensors, got list"),
        ({"inputs": ()}, ValueError, r"one batch size, at least 1, got shapes \[\]"),
        ({"inputs": torch.tensor(1.0)}, ValueError, r"got shapes \[\(\)\]"),
        ({"inputs": torch.ones(0, 3)}, ValueError, r"got shapes \[\(0, 3\)\]"),
        (
            {"inputs": (torch.ones(2, 3), torch.ones(4, 2))},
            ValueError,
            r"inputs must have one batch size, at least 1, got shapes \[\(2, 3\), \(4, 2\)\]",
        ),
        ({"tolerance": -1e-5}, ValueError, "tolerance must be at least 0, got -1e-05"),
        ({"tolerance": math.nan}, ValueError, "tolerance must be at least 0, got nan"),
        ({"tolerance": "1"}, TypeError, "tolerance must be a number, got '1'"),
    ],
)
def test_what_cannot_be_exported_is_refused_before_any_work(
    tmp_path, changes, error, message, monkeypatch
):
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: pytest.fail("exported"))
    arguments = {"width": 2, "path": tmp_path / "a.onnx", "inputs": torch.ones(2, 3)} | changes
    with pytest.raises(error, match=message):
        export_onnx(MLP(3, (Width(4),), 2), **arguments)
    assert not list(tmp_path.iterdir())


def test_a_dtype_that_onnx_files_do_not_run_in_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: pytest.fail("exported"))
    net, x = MLP(3, (Width(4),), 2).bfloat16(), torch.ones(2, 3, dtype=torch.bfloat16)
    with pytest.raises(ValueError, match=r"float64 for ONNX, got bfloat16; model.float\(\) is"):
        export_onnx(net, 2, tmp_path / "a.onnx", x)


def test_a_network_too_large_for_one_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("vsnn_lab.export.verification._ONNX_BYTES", 4 * 14 - 1)
    with pytest.raises(ValueError, match="one ONNX file of 55 bytes, got 56; choose a smaller"):
        export_onnx(MLP(3, (Width(4),), 2), 2, tmp_path / "a.onnx", torch.ones(2, 3))


@exporting
def test_torch_exports_an_extracted_network_with_the_same_outputs_for_any_batch_size():
    knob = WidthControl(3)
    net = nn.Sequential(MLP(4, (knob.axis(6), knob.axis(9)), 2), nn.BatchNorm1d(2)).eval()
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(extract(net, 2), (torch.randn(3, 4),), dynamic_shapes=shapes)
    for batch in (2, 3, 17):
        x = torch.randn(batch, 4)
        with at_width(net, 2):
            torch.testing.assert_close(program.module()(x), net(x))


def test_the_package_imports_neither_onnx_nor_a_runtime():
    script = (
        "import sys, vsnn_lab; vsnn_lab.export_onnx, vsnn_lab.save_weights, vsnn_lab.recalibrate\n"
        "print([m for m in ('onnx', 'onnxscript', 'onnxruntime') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True
    )
    assert done.stdout == "[]\n", done.stderr
