"""Layers that share a weight: each is cut as it uses it, and they share it where they cut alike."""

import copy

import pytest
import torch
from torch import nn

from tests.own import own_linear
from vsnn_lab import (
    VariableEmbedding,
    VariableLinear,
    Width,
    WidthControl,
    at_width,
    count_parameters,
    extract,
    forward_at_widths,
    load_weights,
    save_weights,
    verify_extraction,
)
from vsnn_lab.layers import VariableLayerNorm

TOKENS = torch.randint(0, 20, (4, 5), generator=torch.Generator().manual_seed(0))


class LanguageModel(nn.Module):
    """An embedding, a hidden layer, and a head of the embedding's weight."""

    def __init__(self, head, hidden):
        super().__init__()
        width = WidthControl(8).axis(16)
        knob = (width.control,)
        self.table = VariableEmbedding(20, width)
        self.hidden = hidden(width, width, *(() if hidden is VariableLinear else knob))
        self.head = head(width, 20, *(() if head is VariableLinear else knob))
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.3)
        self.head.weight = self.table.weight

    def forward(self, tokens):
        return self.head(self.hidden(self.table(tokens)).tanh())


def numbers(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("head", [VariableLinear, own_linear])
@pytest.mark.parametrize("hidden", [VariableLinear, own_linear])
@pytest.mark.parametrize("clone", [lambda net: net, copy.deepcopy])
def test_a_tied_head_is_cut_as_it_computes_and_the_table_as_it_does(head, hidden, clone):
    net = clone(LanguageModel(head, hidden)).eval()
    assert net.head.weight is net.table.weight
    for position in range(1, 9):
        assert verify_extraction(net, position, TOKENS) < 1e-4
        cut = extract(net, position)
        assert torch.equal(cut.table.weight, net.table.weight[:, : 2 * position])
        tied = head is VariableLinear or (head is own_linear and position == 8)
        assert (cut.head.weight is cut.table.weight) == tied
        assert count_parameters(net, position) == numbers(cut)


@pytest.mark.parametrize("head", [VariableLinear, own_linear])
def test_the_file_of_a_width_of_a_tied_network_loads_into_its_cut(head, tmp_path):
    net = LanguageModel(head, VariableLinear)
    save_weights(net, tmp_path / "cut.safetensors", width=3)
    fresh = extract(LanguageModel(head, VariableLinear), 3)
    load_weights(fresh, tmp_path / "cut.safetensors")
    torch.testing.assert_close(fresh(TOKENS), extract(net, 3)(TOKENS))


class Shared(nn.Module):
    """Four layers of one weight: rows vary, columns vary, both, neither."""

    def __init__(self, order):
        super().__init__()
        width = Width(8)
        axes = {"rows": (8, width), "both": (width, width), "columns": (width, 8), "none": (8, 8)}
        for name in order:
            plain = name == "plain"
            layer = nn.Linear(8, 8) if plain else VariableLinear(*axes[name], bias=name != "both")
            setattr(self, name, layer)
            layer.weight = getattr(self, order[0]).weight
        self.fixed = getattr(self, "plain" if "plain" in order else "none")

    def forward(self, x):
        x = self.columns(self.both(self.rows(x).tanh()).tanh()).tanh()
        return self.fixed(x)


ORDERS = [
    ("rows", "both", "columns", "none"),
    ("none", "columns", "rows", "both"),
    ("plain", "both", "rows", "columns"),
    ("both", "rows", "columns", "plain"),
]


@pytest.mark.parametrize("order", ORDERS)
def test_layers_that_share_a_weight_on_other_axes_are_cut_apart(order):
    net = Shared(order)
    x, weight = torch.randn(5, 8), net.rows.weight
    for position in (1, 5, 8):
        hidden = (x @ weight[:position].T + net.rows.bias[:position]).tanh()
        hidden = (hidden @ weight[:position, :position].T).tanh()
        hidden = (hidden @ weight[:, :position].T + net.columns.bias).tanh()
        expected = hidden @ weight.T + net.fixed.bias
        with at_width(net, position):
            torch.testing.assert_close(net(x), expected)
        cut = extract(net, position)
        torch.testing.assert_close(cut(x), expected)
        distinct = {p.data_ptr() for p in cut.parameters() if p.dim() == 2}
        assert len(distinct) == (1 if position == 8 else 4)
        assert count_parameters(net, position) == numbers(cut)
    assert net.both.weight is weight


@pytest.mark.parametrize("order", ORDERS)
def test_runs_that_cut_a_large_shared_weight_at_once_cut_it_for_each_layer(order, monkeypatch):
    monkeypatch.setattr("vsnn_lab.layers.corners._LARGE", 1)
    monkeypatch.setattr("vsnn_lab.networks.forward._SMALLEST_RUN", 0)
    net, x = Shared(order), torch.randn(6, 8)
    widths = torch.tensor([2, 2, 5, 5, 8, 8])
    found = forward_at_widths(net, x, widths)
    gradient = torch.autograd.grad(found.square().sum(), net.rows.weight)[0]
    rows = []
    for row, position in zip(x, widths.tolist(), strict=True):
        with at_width(net, position):
            rows.append(net(row[None]))
    expected = torch.cat(rows)
    torch.testing.assert_close(found, expected)
    again = torch.autograd.grad(expected.square().sum(), net.rows.weight)[0]
    torch.testing.assert_close(gradient, again)


def test_a_modules_own_parameter_that_is_tied_stays_whole():
    class Projection(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = VariableLinear(3, Width(6))
            self.direction = self.layer.bias

        def forward(self, x):
            return self.layer(x).sum(1) * self.direction.sum()

    net, x = Projection(), torch.randn(4, 3)
    with at_width(net, 2):
        expected = net(x)
    cut = extract(net, 2)
    torch.testing.assert_close(cut(x), expected)
    assert cut.direction.shape == (6,)
    assert count_parameters(net, 2) == numbers(cut)


def test_tied_norms_of_one_width_stay_tied_and_those_of_two_do_not():
    first, second = Width(6), Width(6)
    norms = nn.ModuleList(VariableLayerNorm(axis) for axis in (first, first, second))
    for norm in norms:
        norm.weight = norms[0].weight
    cut = extract(norms, {first.control: 2, second.control: 4})
    assert cut[0].weight is cut[1].weight
    assert [len(norm.weight) for norm in cut] == [2, 2, 4]
    alike = extract(norms, {first.control: 4, second.control: 4})
    assert alike[0].weight is alike[2].weight


def test_layers_that_keep_as_many_units_but_others_are_cut_apart():
    first, second = Width(4), Width(4)
    net = nn.Sequential(VariableLinear(3, first + second), VariableLinear(3, second + first))
    net[1].weight = net[0].weight
    x, turned = torch.randn(5, 3), {first.control: 1, second.control: 3}
    cut = extract(net, turned)
    with at_width(net, turned):
        for layer, small in zip(net, cut, strict=True):
            torch.testing.assert_close(small(x), layer(x))
    assert cut[0].weight is not cut[1].weight
    assert count_parameters(net, turned) == numbers(cut)
    whole = extract(net, {})
    assert whole[0].weight is whole[1].weight
