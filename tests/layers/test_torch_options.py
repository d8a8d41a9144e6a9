"""What torch's layers can be asked for, variable ones can be asked for, too."""

import copy
import inspect

import pytest
import torch
from torch import nn

from tests.own import own_conv, own_linear
from vsnn_lab import (
    Width,
    WidthControl,
    at_width,
    count_parameters,
    extract,
    layers,
    make_variable,
    save_weights,
)
from vsnn_lab.layers import VariableEmbedding, VariableLinear
from vsnn_lab.widths import width_controls

A, B = WidthControl(2).axis(4), WidthControl(2).axis(6)
BY_KEYWORD = [
    (layers.VariableLinear(4, B), torch.randn(2, 4)),
    (layers.VariableConv1d(4, B, 1), torch.randn(2, 4, 3)),
    (layers.VariableConv2d(4, B, 1), torch.randn(2, 4, 3, 3)),
    (layers.VariableConvTranspose2d(4, B, 2), torch.randn(2, 4, 3, 3)),
    (layers.VariableBatchNorm1d(A), torch.randn(2, 4)),
    (layers.VariableLayerNorm(A), torch.randn(2, 4)),
    (layers.VariableRMSNorm(A), torch.randn(2, 4)),
    (layers.VariableGroupNorm(1, A), torch.randn(2, 4)),
    (layers.VariableEmbedding(5, A), torch.tensor([0, 4])),
    (layers.TriangularDropout(), torch.randn(3, 4)),
    (own_linear(4, B), torch.randn(2, 4)),
    (own_conv(4, B, 1), torch.randn(2, 4, 3, 3)),
]


@pytest.mark.parametrize(("layer", "x"), BY_KEYWORD, ids=lambda v: type(v).__name__)
def test_a_layer_takes_its_input_by_the_name_that_torch_gives_it(layer, x):
    plain = next(cls for cls in type(layer).__mro__ if cls.__module__.startswith("torch.nn"))
    name = next(iter(set(inspect.signature(plain.forward).parameters) - {"self", "output_size"}))
    layer.eval()
    assert torch.equal(layer(**{name: x}), layer(x))


class ByKeyword(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.second(input=self.first(input=x).relu())


def test_a_network_that_names_its_inputs_is_converted_and_cut():
    model, x = ByKeyword(), torch.randn(5, 3)
    net = make_variable(model, steps=8)
    torch.testing.assert_close(net(x), model(x))
    hidden = (x @ model.first.weight[:3].T + model.first.bias[:3]).relu()
    expected = hidden @ model.second.weight[:, :3].T + model.second.bias
    with at_width(net, 3):
        torch.testing.assert_close(net(x), expected)
    torch.testing.assert_close(extract(net, 3)(x), expected)


def convert(table):
    return make_variable(nn.Sequential(table, nn.Linear(8, 3)), steps=8)[0]


@pytest.mark.parametrize("indices", [[[1, 1, 1, 2]], [[4], [4], [0]], [[0, 1], [2, 3]]])
@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("position", [8, 3])
def test_an_embeddings_gradient_is_scaled_by_frequency_where_torchs_is(indices, scaled, position):
    plain = nn.Embedding(6, 8, padding_idx=2, scale_grad_by_freq=scaled)
    variable = VariableEmbedding(6, Width(8), padding_idx=2, scale_grad_by_freq=scaled)
    variable.load_state_dict(plain.state_dict())
    indices, weights = torch.tensor(indices), torch.randn(8)
    (plain(indices) * weights)[..., :position].sum().backward()
    for layer in (variable, convert(plain)):
        layer.zero_grad()
        with at_width(layer, position):
            (layer(indices) * weights[:position]).sum().backward()
        torch.testing.assert_close(layer.weight.grad, plain.weight.grad)
    assert extract(variable, 3).scale_grad_by_freq == scaled


def test_rows_of_an_embedding_that_counts_indices_are_not_computed_apart():
    assert VariableEmbedding(4, Width(4)).takes_prefixes
    assert not VariableEmbedding(4, Width(4), scale_grad_by_freq=True).takes_prefixes
    assert VariableLinear(4, Width(4)).takes_prefixes


def first_norm():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))


def two_norms():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False), nn.ReLU(), nn.Conv2d(4, 2, 1),
        nn.BatchNorm2d(2),
    )  # fmt: skip


def within_a_module():
    return nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8)), nn.Conv2d(8, 2, 1))


@pytest.mark.parametrize("build", [first_norm, two_norms, within_a_module])
@pytest.mark.parametrize("clone", [lambda net: net, copy.deepcopy])
def test_a_batch_norm_that_torch_synchronised_is_refused_by_name(build, clone, tmp_path):
    net = make_variable(build())
    name = "0.1" if build is within_a_module else "1"
    synchronised = clone(nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(net)))
    calls = [
        lambda net: at_width(net, 2),
        lambda net: extract(net, 2),
        lambda net: count_parameters(net, 2),
        lambda net: save_weights(net, tmp_path / "cut.safetensors", width=2),
        lambda net: width_controls(net),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=f"got SyncBatchNorm at '{name}' in place of one"):
            call(synchronised)
        call(net)
    assert "BatchNorm2d(8" in repr(net) or build is two_norms
    cut, x = extract(net, 2).eval(), torch.randn(2, 3, 5, 5)
    after = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(cut)).eval()
    torch.testing.assert_close(after(x), cut(x))
    assert not width_controls(after)


def test_a_fixed_batch_norm_of_a_variable_network_can_be_synchronised():
    width = Width(4)
    net = nn.Sequential(
        VariableLinear(3, width), VariableLinear(width, 5), layers.VariableBatchNorm1d(5)
    ).eval()
    synchronised, x = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(net)), torch.randn(2, 3)
    with at_width(net, 2), at_width(synchronised, 2):
        torch.testing.assert_close(synchronised(x), net(x))
