import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from vsnn_lab import MLP, Width, at_width, fit, recalibrate, width_sweep
from vsnn_lab._basics.checks import check_int, check_pair, short_repr


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (torch.zeros(40, 3), "Tensor of shape (40, 3) and torch.float32"),
        (np.zeros(900, np.int8), "ndarray of shape (900,) and int8"),
        (nn.Parameter(torch.ones(5, 2)), "Parameter of shape (5, 2) and torch.float32"),
        (torch.tensor([1, 2]), "tensor([1, 2])"),
        (np.float32(0.5), repr(np.float32(0.5))),
        ([1, 2, 3, 4], "[1, 2, 3, 4]"),
        (list(range(90)), "[0, 1, 2, 3, ...]"),
        ((torch.zeros(9, 2), None), "(Tensor of shape (9, 2) and torch.float32, None)"),
        ({"x": torch.zeros(9, 2)}, "{'x': Tensor of shape (9, 2) and torch.float32}"),
        (nn.Sequential(nn.Linear(3, 4)), "Sequential(...)"),
        (nn.ReLU(), "ReLU()"),
        ("a string", "'a string'"),
        (None, "None"),
    ],
)
def test_a_value_is_shown_by_what_it_is(value, shown):
    assert short_repr(value) == shown


@pytest.mark.parametrize(
    "value",
    [
        [(torch.zeros(9, 9), torch.zeros(9))] * 900,
        pd.DataFrame(np.zeros((90, 20))),
        "x" * 9_000,
        {str(index): list(range(90)) for index in range(90)},
        2**9_000,
    ],
    ids=["batches", "table", "string", "dict", "integer"],
)
def test_what_is_large_takes_a_few_hundred_characters_on_one_line(value):
    shown = short_repr(value)
    assert len(shown) < 310
    assert "\n" not in shown


def sweep(batches):
    return width_sweep(MLP(4, (Width(3),), 2), nn.functional.mse_loss, batches)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x: check_pair("batches", (x, x, x)),
            "got (Tensor of shape (40, 16) and torch.float32, Tensor of shape (40, 16) and ",
        ),
        (lambda x: check_int("width", x), "got Tensor of shape (40, 16) and torch.float32"),
        (lambda x: sweep([{"x": x}]), "got {'x': Tensor of shape (40, 16) and torch.float32} of"),
        (lambda x: at_width(x, 3), "got Tensor of shape (40, 16) and torch.float32"),
        (lambda x: recalibrate(nn.BatchNorm1d(16), [[x]] * 2 + [[[x]]]), "got list"),
        (
            lambda x: fit(MLP(16, (Width(3),), 2), (x, x[:, :2]), nn.MSELoss(reduction="none")),
            "must return a scalar tensor that depends on the output, got Tensor of shape (",
        ),
    ],
)
def test_no_message_prints_a_batch(call, message):
    with pytest.raises(TypeError) as caught:
        call(torch.randn(40, 16))
    assert message in str(caught.value)
    assert len(str(caught.value)) < 600
