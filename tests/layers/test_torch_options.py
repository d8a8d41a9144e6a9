"""What torch's layers can be asked for, variable ones can be asked for, too."""

import inspect

import pytest
import torch
from torch import nn

from vsnn_lab import Width, WidthControl, at_width, extract, layers, make_variable
from vsnn_lab.layers import VariableEmbedding, VariableLinear

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
    (layers.ConditionedLinear(4, B, B.control), torch.randn(2, 4)),
    (layers.OctaveLinear(4, B, B.control), torch.randn(2, 4)),
    (layers.OctaveConv2d(4, B, 1, B.control), torch.randn(2, 4, 3, 3)),
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
    net = make_variable(model)
    torch.testing.assert_close(net(x), model(x))
    hidden = (x @ model.first.weight[:3].T + model.first.bias[:3]).relu()
    expected = hidden @ model.second.weight[:, :3].T + model.second.bias
    with at_width(net, 3):
        torch.testing.assert_close(net(x), expected)
    torch.testing.assert_close(extract(net, 3)(x), expected)


def convert(table):
    return make_variable(nn.Sequential(table, nn.Linear(8, 3)))[0]


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
