"""Products that torch's own counter leaves out, against loops over what they multiply."""

import itertools
import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from vsnn_lab import MLP, VariableLinear, Width, choose_widths, count_macs, width_sweep


class Function(nn.Module):
    """A function as a module, with what it needs beside its input as buffers."""

    def __init__(self, function, *shapes):
        super().__init__()
        self.function = function
        for index, shape in enumerate(shapes):
            self.register_buffer(f"part{index}", torch.randn(shape))

    def forward(self, x):
        return self.function(x, *self.buffers())


def flash(x):
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        return F.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None])


def pairs_of(*sizes: int) -> int:
    """Count the innermost turns of nested loops."""
    return sum(1 for _ in itertools.product(*map(range, sizes)))


# Inputs have shape (batch, 3, 4); one sample is counted.
@pytest.mark.parametrize(
    ("function", "shapes", "loops"),
    [
        (lambda x, v: x @ v, [4], (3, 4)),
        (lambda x, v: x[0] @ v, [4], (3, 4)),
        (lambda x, v: torch.mv(x[0], v), [4], (3, 4)),
        (lambda x, v: v @ x[0], [3], (3, 4)),
        (lambda x, v: x[0, 0].dot(v), [4], (4,)),
        (lambda x, v: torch.vdot(x[0, 1], v), [4], (4,)),
        (lambda x, b, v: torch.addmv(b, x[0], v), [3, 4], (3, 4)),
        (lambda x, b, v: b.clone().addmv_(x[0], v), [3, 4], (3, 4)),
        (lambda x, b, w: torch.addbmm(b, x, w), [(3, 5), (1, 4, 5)], (3, 4, 5)),
        (lambda x, b, w: b.clone().addbmm_(x, w), [(3, 5), (1, 4, 5)], (3, 4, 5)),
        (lambda x, b, w: torch.baddbmm(b, x, w), [(1, 3, 5), (1, 4, 5)], (3, 4, 5)),
        (lambda x, b, w: b.clone().baddbmm_(x, w), [(1, 3, 5), (1, 4, 5)], (3, 4, 5)),
        (lambda x, b, w: b.clone().addmm_(x[0], w), [(3, 5), (4, 5)], (3, 4, 5)),
        (lambda x, b: torch.addr(b, x[0, :, 0], x[0, 0]), [(3, 4)], (3, 4)),
        (lambda x, w: torch.einsum("bij,jk->bik", x, w), [(4, 5)], (3, 4, 5)),
        (lambda x, w: F.linear(x[0, 0], w), [(5, 4)], (5, 4)),
        (lambda x, w: F.bilinear(x, x, w), [(5, 4, 4)], (3, 5, 4, 4)),
        (lambda x, w, b: torch.conv_tbc(x, w, b), [(1, 4, 6), 6], (3, 4, 6)),
        (lambda x, w: F.conv_transpose1d(x, w, stride=2), [(3, 5, 2)], (4, 3, 5, 2)),
        (lambda x, w: F.conv1d(x[0], w), [(5, 3, 2)], (3, 5, 3, 2)),
        (lambda x: torch.cov(x[0]), [], (3, 4, 3)),
        (flash, [], (2, 3, 3, 4)),
    ],
)
def test_products_are_counted_one_by_one(function, shapes, loops):
    assert count_macs(Function(function, *shapes), None, torch.randn(2, 3, 4)) == pairs_of(*loops)


def test_recurrent_cells_and_a_bilinear_layer_count_their_weights():
    x = torch.randn(2, 4)
    for cell, gates in ((nn.RNNCell(4, 5), 1), (nn.GRUCell(4, 5), 3), (nn.LSTMCell(4, 5), 4)):
        assert count_macs(cell, None, x) == gates * pairs_of(5, 4 + 5)
    bilinear = Function(lambda x: layer(x, x[..., :2]))
    layer = nn.Bilinear(4, 2, 3)
    assert count_macs(bilinear, None, x) == layer.weight.numel()
    for recurrent, gates in ((nn.RNN(4, 5), 1), (nn.GRU(4, 5), 3)):
        assert count_macs(recurrent, None, torch.randn(1, 6, 4)) == 6 * gates * pairs_of(5, 4 + 5)


def custom(x):
    return torch.ops.vsnn_lab_tests.square(x)


@pytest.fixture(scope="module", autouse=True)
def custom_operation():
    with torch.library._scoped_library("vsnn_lab_tests", "FRAGMENT") as library:
        library.define("square(Tensor x) -> Tensor")
        library.impl("square", lambda x: x @ x.mT, "CPU")
        yield


@pytest.mark.parametrize(
    ("function", "name", "counted"),
    [
        (torch.fft.rfft, "_fft_r2c", 0),
        (torch.fft.fft2, "_fft_c2c", 0),
        (lambda x: torch.cdist(x, x), "_cdist_forward", 0),
        (lambda x: torch.linalg.inv(x @ x.mT + torch.eye(3)), "linalg_inv_ex", 36),
        (torch.linalg.svdvals, "_linalg_svd", 0),
        (lambda x: torch.linalg.matrix_exp(x @ x.mT), "linalg_matrix_exp", 36),
        (lambda x: torch.sparse.mm(torch.eye(3).to_sparse(), x[0]), "_sparse_addmm", 0),
        (lambda x: torch.eye(3).to_sparse() @ x[0], "mm of sparse tensors", 36),
        (custom, "vsnn_lab_tests::square", 0),
    ],
)
def test_what_cannot_be_counted_is_named(function, name, counted):
    with pytest.warns(UserWarning, match=f"must do products that can be .* got those of {name}, "):
        assert count_macs(Function(function), None, torch.randn(2, 3, 4)) == counted


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.interpolate(x[:, None], scale_factor=2, mode="bilinear"),
        lambda x: torch.linalg.cross(x[..., :3], x[..., 1:]) / torch.linalg.vector_norm(x),
        lambda x: F.layer_norm(F.softmax(x, -1), (4,)).cumsum(1).sort(1).values,
        lambda x: F.avg_pool1d(F.pad(x, (1, 1)), 2) + F.cosine_similarity(x, x, 1).sum(),
        lambda x: torch.outer(x[0, 0], x[0, 1]).tril().to_sparse().to_dense(),
    ],
)
def test_work_on_single_elements_counts_as_nothing_and_is_not_named(function):
    assert count_macs(Function(function), None, torch.randn(2, 3, 4)) == 0


class Spectral(nn.Module):
    """A variable network with a Fourier transform between its layers."""

    def __init__(self):
        super().__init__()
        width = Width(4)
        self.first, self.last = VariableLinear(3, width), VariableLinear(width, 2)

    def forward(self, x):
        return self.last(torch.fft.fft(self.first(x)).abs())


def test_a_sweep_names_it_once_and_counts_the_rest():
    data = torch.randn(6, 3), torch.zeros(6, 2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sweep = width_sweep(Spectral(), F.mse_loss, data)
    assert ["_fft_r2c" in str(warning.message) for warning in caught] == [True]
    assert sweep.macs.tolist() == [width * (3 + 2) for width in range(1, 5)]


def test_a_budget_of_products_that_cannot_be_counted_is_said():
    x = torch.randn(6, 3)
    with pytest.warns(UserWarning, match="_fft_r2c"):
        chosen = choose_widths(Spectral(), F.mse_loss, (x, x[:, :2]), max_macs=10, inputs=x)
    assert list(chosen.values()) == [2]


def test_a_network_that_writes_into_its_inputs_leaves_the_callers_alone():
    x = -torch.ones(2, 3)
    net = nn.Sequential(nn.ReLU(inplace=True), MLP(3, (Width(4),), 2))
    assert count_macs(net, 2, x) == 2 * (3 + 2)
    assert math.isclose(x.sum(), -6)
