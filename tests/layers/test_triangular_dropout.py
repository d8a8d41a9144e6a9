"""Triangular Dropout with a `Width`: what it draws, and what it obeys."""

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from vsnn_lab import Triangular, TriangularDropout, Uniform, Width, WidthControl, at_width, extract


def test_infinities_beyond_the_width_are_zeros():
    mask, x = TriangularDropout(Width(4)), torch.full((2, 4), torch.inf)
    for width in (1, torch.tensor([1, 1])):
        with at_width(mask, width):
            assert mask(x).tolist() == [[torch.inf, 0, 0, 0]] * 2
    assert extract(mask, 1)(x).tolist() == [[torch.inf, 0, 0, 0]] * 2


def test_at_rest_it_draws_while_training_as_without_a_width():
    x, width = torch.ones(3, 4, 6), Width(6)
    for dropout in (TriangularDropout(width, 2), TriangularDropout(width, sampler=Uniform())):
        plain = TriangularDropout(dropout.sampler, dropout.dim)
        for mask in (dropout, plain):
            mask.generator = torch.Generator().manual_seed(1)
        found = dropout(x)
        assert torch.equal(found, plain(x))
        assert (found != 1).any()
        assert dropout.eval()(x) is x
    with pytest.raises(ValueError, match=r"6 units in dimension -1, got shape \(3, 4, 5\)"):
        TriangularDropout(width)(x[..., :5])


def test_a_knob_of_few_positions_draws_those():
    mask = TriangularDropout(WidthControl(3).axis(6))
    assert mask(torch.ones(3, 6)).sum(1).tolist() == [2, 4, 6]


def test_tokens_of_a_sample_share_a_width_or_have_one_each():
    x, width = torch.ones(4, 50, 6), Width(6)
    per_sample = TriangularDropout(width)(x).sum(-1)
    assert torch.equal(per_sample, per_sample[:, :1].expand(-1, 50))
    generator = torch.Generator().manual_seed(2)
    per_token = TriangularDropout(width, batch_dims=2, generator=generator)
    kept = per_token(x).sum(-1).int()
    # The triangle over 200 tokens, in any order.
    assert sorted(kept.flatten().tolist()) == sorted(Triangular()(200, 6).tolist())
    assert all(len(row.unique()) > 4 for row in kept)
    positions = torch.randint(1, 7, (200,), generator=generator)
    with at_width(per_token, positions):
        assert torch.equal(per_token(x).sum(-1), positions.view(4, 50))
    with at_width(per_token, positions[:4]):
        assert torch.equal(per_token(x).sum(-1), positions[:4, None].expand(4, 50))
    with at_width(per_token, 2):
        assert torch.equal(per_token(x).sum(-1), torch.full((4, 50), 2))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: TriangularDropout(Width(4) + 2), ValueError, "must not be joined of several"),
        (lambda: TriangularDropout(Uniform(), sampler=Uniform()), TypeError, "beside a sampler"),
        (lambda: TriangularDropout(Width(4), batch_dims=0), ValueError, "batch_dims must be at le"),
        (lambda: TriangularDropout(8), TypeError, "width must be a Width, a sampler or None"),
        (lambda: TriangularDropout(Width(4), sampler=8), TypeError, "sampler must be a sampler"),
        (lambda: at(3, torch.ones(2, 5)), ValueError, "6 units in dimension -1, or the 3 kept"),
        (lambda: at(3, torch.tensor(1.0)), ValueError, "6 units in dimension -1, or the 3 kept"),
        (
            lambda: at(torch.tensor([1, 2]), torch.ones(3, 6)),
            ValueError,
            "for each of the 2 widths",
        ),
        (
            lambda: at(torch.tensor([1, 2]), torch.ones(6)),
            ValueError,
            "must have a batch and units",
        ),
        (
            lambda: TriangularDropout(batch_dims=2)(torch.ones(3, 6)),
            ValueError,
            "a batch of 2 dimensions and units",
        ),
        (
            lambda: TriangularDropout(dim=1, batch_dims=2)(torch.ones(3, 6, 2)),
            ValueError,
            "a batch of 2 dimensions and units",
        ),
    ],
)
def test_what_it_cannot_mask_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def at(width, x):
    mask = TriangularDropout(Width(6))
    with at_width(mask, width):
        return mask(x)


@pytest.mark.parametrize("mask", [TriangularDropout(Uniform()), TriangularDropout(Width(6))])
def test_checkpointing_that_would_draw_again_is_refused(mask):
    x = torch.ones(3, 6, requires_grad=True)
    at_rest = isinstance(mask.sampler, Uniform)
    turned = at_width(WidthControl(1), 1) if at_rest else at_width(mask, 6)
    with turned, pytest.raises(RuntimeError, match="checkpointing must be off"):
        checkpoint(mask, x, use_reentrant=False)
    if not at_rest:
        with at_width(mask.eval(), 2), pytest.raises(RuntimeError, match="a layer at width 2 of 6"):
            checkpoint(mask, x, use_reentrant=False)
        checkpoint(mask, x, use_reentrant=False).sum().backward()
