import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vsnn_lab import Triangular, VariableLinear, Width, WidthControl, at_width, prefix_mask
from vsnn_lab.widths.masks import keep_prefix


@given(st.lists(st.integers(1, 12), min_size=1, max_size=20))
def test_row_i_keeps_exactly_its_first_units(widths):
    mask = prefix_mask(torch.tensor(widths), 12)
    assert mask.dtype == torch.bool
    assert mask.tolist() == [[unit < width for unit in range(12)] for width in widths]


@given(st.integers(1, 64))
def test_the_triangle_of_a_batch_as_large_as_the_width_is_exactly_lower_triangular(width):
    mask = prefix_mask(Triangular()(width, width), width)
    assert torch.equal(mask, torch.ones(width, width).tril().bool())


@pytest.mark.parametrize("dim", [-1, 0])
def test_units_may_lie_in_the_only_dimension(dim):
    axis = Width(3)
    with at_width(axis.control, 2):
        assert keep_prefix(torch.tensor([1, 2, 3]), axis, dim).tolist() == [1, 2]


@pytest.mark.parametrize("dim", [-3, 2])
def test_a_dimension_just_beyond_the_others_is_refused(dim):
    with pytest.raises(ValueError, match=rf"units in dimension {dim}, got shape \(3, 3\)"):
        keep_prefix(torch.ones(3, 3), Width(3), dim)


def test_an_infinity_beyond_the_width_stays_out():
    axis = Width(3)
    x = torch.tensor([[1.0, 2.0, float("inf")], [1.0, float("nan"), 3.0]])
    with at_width(axis.control, torch.tensor([2, 1])):
        assert keep_prefix(x, axis).tolist() == [[1, 2, 0], [1, 0, 0]]


def test_the_mask_follows_the_stated_dimension():
    axis = Width(4)
    x = torch.ones(2, 4, 3)
    with at_width(axis.control, torch.tensor([1, 3])):
        assert keep_prefix(x, axis, dim=1).sum(dim=(1, 2)).tolist() == [3, 9]
        with pytest.raises(ValueError, match=r"must have 4 units in dimension -1 .* got shape"):
            keep_prefix(x, axis)


def test_an_int_cuts_whole_activations_to_their_first_units_and_leaves_cut_ones():
    axis = WidthControl(3).axis(6)
    x = torch.arange(24).view(2, 6, 2)
    with at_width(axis.control, 2):
        cut = keep_prefix(x, axis, dim=1)
        assert cut.flatten(1).tolist() == [list(range(8)), list(range(12, 20))]
        assert keep_prefix(cut, axis, dim=1) is cut
    assert keep_prefix(x, axis, dim=1) is x


@pytest.mark.parametrize(
    ("widths", "size", "error", "message"),
    [
        ([1, 2], 3, TypeError, r"widths must be a LongTensor of shape \(batch,\), got \[1, 2\]"),
        (torch.tensor([1.0]), 3, TypeError, "got dtype torch.float32"),
        (torch.tensor([0]), 3, ValueError, r"must lie in 1\.\.3, got 0"),
        (torch.tensor([4]), 3, ValueError, r"must lie in 1\.\.3, got 4"),
        (torch.tensor([1]), 0, ValueError, "max_width must be at least 1, got 0"),
    ],
)
def test_a_bad_mask_is_refused(widths, size, error, message):
    with pytest.raises(error, match=message):
        prefix_mask(widths, size)


def test_an_input_of_the_wrong_size_is_refused():
    layer = VariableLinear(Width(8), 2)
    with (
        at_width(layer, 3),
        pytest.raises(ValueError, match=r"must have 3 or 8 units in dimension -1 at width 3 of 8"),
    ):
        layer(torch.ones(2, 5))
    with (
        at_width(layer, torch.tensor([1, 2, 3])),
        pytest.raises(ValueError, match="one row for each of the 3 widths"),
    ):
        layer(torch.ones(2, 8))
