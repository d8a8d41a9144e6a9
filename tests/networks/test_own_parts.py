"""Parameters and numbers that modules hold beside their layers follow the axes that they are of."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vsnn_lab import at_width, explain, extract
from vsnn_lab.layers.own_parts import OwnParts
from vsnn_lab.networks.conversion import make_variable
from vsnn_lab.widths import width_controls


class Attention(nn.Module):
    """As in timm: a reshape names the heads, another one all of their units."""

    def __init__(self, units, heads):
        super().__init__()
        self.num_heads, self.head_dim = heads, units // heads
        self.all_units = units
        self.qkv, self.proj = nn.Linear(units, 3 * units), nn.Linear(units, units)

    def forward(self, x):
        samples, words, _ = x.shape
        qkv = self.qkv(x).reshape(samples, words, 3, self.num_heads, self.head_dim)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        found = F.scaled_dot_product_attention(query, key, value)
        return self.proj(found.transpose(1, 2).reshape(samples, words, self.all_units))


class SplitAttention(nn.Module):
    """As in GPT-2: a split names the units of each third."""

    def __init__(self, units, heads):
        super().__init__()
        self.split_size, self.head_dim = units, units // heads
        self.qkv, self.proj = nn.Linear(units, 3 * units), nn.Linear(units, units)

    def forward(self, x):
        parts = self.qkv(x).split(self.split_size, dim=2)
        shape = (*x.shape[:-1], -1, self.head_dim)
        query, key, value = (part.view(shape).transpose(1, 2) for part in parts)
        found = F.scaled_dot_product_attention(query, key, value)
        return self.proj(found.transpose(1, 2).reshape(*x.shape[:-1], -1))


class Tokens(nn.Module):
    """A class token, positions, and a scale for each unit of a branch."""

    def __init__(self, attention, units=24, heads=6):
        super().__init__()
        self.embed, self.token = nn.Linear(5, units), nn.Parameter(torch.randn(1, 1, units))
        self.positions = nn.Parameter(torch.randn(1, 5, units))
        self.scale = nn.Parameter(torch.rand(units) + 0.5)
        self.attention, self.norm = attention(units, heads), nn.LayerNorm(units)
        self.head = nn.Linear(units, 3)

    def forward(self, x):
        x = self.embed(x)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        x = x + self.scale * self.attention(self.norm(x))
        return self.head(x[:, 0])


@pytest.mark.parametrize("attention", [Attention, SplitAttention])
def test_every_parameter_of_a_transformer_written_by_hand_follows(attention):
    torch.manual_seed(0)
    plain, x = Tokens(attention).double().eval(), torch.randn(3, 4, 5, dtype=torch.float64)
    variable = make_variable(plain, x)
    assert isinstance(variable, OwnParts)
    assert isinstance(variable, Tokens)
    assert torch.equal(variable(x), plain(x))
    (knob,) = width_controls(variable)
    turns = [1, knob.steps // 2 + 1, knob.steps - 1]
    cuts = [extract(variable, position) for position in turns]
    for position, cut in zip(turns, cuts, strict=True):
        assert type(cut) is Tokens
        assert type(cut.attention) is attention
        with at_width(variable, position):
            torch.testing.assert_close(variable(x), cut(x), rtol=0, atol=1e-12)
    small = cuts[1]
    units = small.embed.out_features
    assert units < 24
    assert (small.token.shape, small.positions.shape) == ((1, 1, units), (1, 5, units))
    heads = small.attention.qkv.out_features // 3
    assert heads < 24
    if attention is Attention:
        numbers = small.attention.num_heads * 4, small.attention.all_units
        assert numbers == (heads, heads)
    else:
        assert small.attention.split_size == heads
    with at_width(variable, torch.tensor(turns)):
        masked = variable(x)
    for row, cut in enumerate(cuts):
        torch.testing.assert_close(masked[row], cut(x[row : row + 1])[0], rtol=0, atol=1e-12)


def test_the_explanation_has_a_row_for_them():
    found = explain(make_variable(Tokens(Attention), torch.randn(3, 4, 5)))
    row, attention = (row for row in found.rows if row.name in ("", "attention"))
    assert row.axes == "token 1 x 1 x 1..24, positions 1 x 5 x 1..24, scale 1..24"
    assert (row.parameters, row.share, row.knobs) == (24 + 5 * 24 + 24, 1, (1,))
    assert attention.axes == "num_heads 1..6, all_units 4..24"
    assert [reason.layers for reason in found.fixed] == [("head",)]


class Reshaping(nn.Module):
    """As people write it who follow nanoGPT: to the size of the input, and heads of it."""

    def __init__(self, units=24, heads=6):
        super().__init__()
        self.heads = heads
        self.fused, self.out = nn.Linear(units, 3 * units), nn.Linear(units, units)

    def forward(self, x):
        samples, words, units = x.shape
        shape = samples, words, self.heads, units // self.heads
        parts = (part.view(shape).transpose(1, 2) for part in self.fused(x).chunk(3, 2))
        found = F.scaled_dot_product_attention(*parts, is_causal=True)
        return self.out(found.transpose(1, 2).contiguous().view(samples, words, units))


def test_a_reshape_to_the_size_of_another_tensor_has_the_axis_of_that_one():
    torch.manual_seed(0)
    layers = nn.Linear(5, 24), Reshaping(), nn.LayerNorm(24), Reshaping(), nn.Linear(24, 2)
    x = torch.randn(3, 4, 5)
    variable = make_variable(nn.Sequential(*layers), x)
    assert explain(variable).share == pytest.approx(1 - 2 / explain(variable).parameters)
    cut = extract(variable, 11)
    assert (cut[0].out_features, cut[1].heads, cut[3].fused.out_features) == (12, 3, 36)
    with at_width(variable, 11):
        torch.testing.assert_close(variable(x), cut(x))


def test_numbers_are_those_of_full_width_whenever_nothing_runs():
    variable = make_variable(Tokens(Attention), torch.randn(3, 4, 5))
    with at_width(variable, 2):
        variable(torch.randn(3, 4, 5))
        assert variable.attention.num_heads == 6
        assert variable.token.shape == (1, 1, 24)
    assert [*variable.state_dict()] == [*Tokens(Attention).state_dict()]


def test_such_modules_are_copied_and_pickled_and_train():
    torch.manual_seed(0)
    x = torch.randn(3, 4, 5)
    variable = make_variable(Tokens(Attention), x)
    for twin in (copy.deepcopy(variable), pickle.loads(pickle.dumps(variable))):
        with at_width(variable, 9), at_width(twin, 9):
            assert torch.equal(twin(x), variable(x))
    with at_width(variable, 9):
        variable(x).sum().backward()
    kept = extract(variable, 9).token.shape[-1]
    assert variable.token.grad[..., :kept].all()
    assert not variable.token.grad[..., kept:].any()


class Unrelated(nn.Module):
    """A number that equals a size, and is none."""

    def __init__(self):
        super().__init__()
        self.steps = 12
        self.one, self.two, self.three = nn.Linear(4, 12), nn.Linear(12, 8), nn.Linear(8, 2)

    def forward(self, x):
        x = self.one(x)
        x = x + torch.arange(self.steps).to(x)
        return self.three(self.two(x).relu())


def test_a_number_that_changes_what_is_computed_fixes_its_axis():
    plain, x = Unrelated(), torch.randn(3, 4)
    variable = make_variable(plain, x)
    assert type(variable) is Unrelated
    assert extract(variable, 1).one.out_features == 12
