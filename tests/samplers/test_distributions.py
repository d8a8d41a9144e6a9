"""Each sampler draws the distribution that it states, and keeps what it promises of a batch."""

import itertools
import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import chisquare, geom

from vsnn_lab.samplers import (
    Fixed,
    FixedFraction,
    Full,
    Geometric,
    Interpolated,
    Listed,
    LogUniform,
    Octaves,
    Sandwich,
    Shifted,
    Stratified,
    TailExponential,
    Triangular,
    Uniform,
    Weighted,
)
from vsnn_lab.widths.masks import prefix_mask

STEPS = 16


def inverse(fraction):
    return 1 / fraction


def tail_rate(p):
    """Solve for the rate whose mean kept share over all widths, summed in a loop, is 1 - p."""

    def excess(rate):
        weights = [math.exp(rate * width / STEPS) for width in range(1, STEPS + 1)]
        mean = sum(w * weight for w, weight in enumerate(weights, start=1)) / sum(weights)
        return mean / STEPS - (1 - p)

    return brentq(excess, -40, 40)


def tail_exponential(p):
    rate = tail_rate(p)
    return lambda width: math.exp(rate * width / STEPS)


def assert_drawn_in_proportion(counts, weights, shrink):
    """Compare counts with weights; ``shrink`` is the share of draws that are independent."""
    expected = [float(counts.sum()) * weight / sum(weights) for weight in weights]
    assert all(count == 0 for count, e in zip(counts.tolist(), expected, strict=True) if e == 0)
    pairs = [(c * shrink, e * shrink) for c, e in zip(counts.tolist(), expected, strict=True) if e]
    assert chisquare(*zip(*pairs, strict=True)).pvalue > 1e-3


# The batch of 1 shows each draw's own distribution; 100 shows that of the joint draw.
@pytest.mark.parametrize("batch_size", [1, 7, 100])
@pytest.mark.parametrize(
    ("sampler", "weight"),
    [
        (Uniform(), lambda width: 1),
        (Stratified(4), lambda width: 1),
        (Stratified(7), lambda width: 1),
        (Weighted(inverse), lambda width: 1 / width),
        (Weighted(inverse, runs=3), lambda width: 1 / width),
        (Weighted(lambda fraction: fraction**2, runs=2), lambda width: width**2),
        (LogUniform(), lambda width: math.log2((width + 1) / width)),
        (LogUniform(runs=4), lambda width: math.log2((width + 1) / width)),
        (Octaves(), lambda width: 2.0 ** -max(0, (width - 1).bit_length() - 1)),
        (Octaves(runs=4), lambda width: 2.0 ** -max(0, (width - 1).bit_length() - 1)),
        (TailExponential(0.2), tail_exponential(0.2)),
        (TailExponential(0.7, runs=3), tail_exponential(0.7)),
        (Geometric(0.2), lambda width: 0.2 * 0.8 ** (width - 1)),
        (Geometric(0.05, runs=4), lambda width: 0.05 * 0.95 ** (width - 1)),
        (Listed([2, 16, 5]), lambda width: float(width in {2, 5, 16})),
        (Listed([16, 4], weights=[1, 3], runs=3), lambda width: {4: 0.75, 16: 0.25}.get(width, 0)),
    ],
)
def test_the_distribution_is_the_one_it_states(sampler, weight, batch_size, generator):
    draws = 10_000 if batch_size == 1 else 100_000
    counts = torch.zeros(STEPS + 1)
    for _ in range(-(-draws // batch_size)):
        counts += torch.bincount(sampler(batch_size, STEPS, generator), minlength=STEPS + 1)
    # Samples of one run share a width, so the number of independent draws is that of the runs.
    runs = min(getattr(sampler, "runs", None) or batch_size, batch_size)
    weights = [weight(width) for width in range(1, STEPS + 1)]
    assert_drawn_in_proportion(counts[1:], weights, runs / batch_size)


@pytest.mark.parametrize("batch_size", [4, 7, 100])
@pytest.mark.parametrize("inner", [1, 2])
def test_a_sandwich_is_the_two_ends_and_uniform_widths_in_equal_shares(
    inner, batch_size, generator
):
    counts = torch.zeros(STEPS + 1)
    for _ in range(-(-100_000 // batch_size)):
        widths = Sandwich(inner)(batch_size, STEPS, generator)
        counts += torch.bincount(widths, minlength=STEPS + 1)
    ends = {1: 1, STEPS: 1}
    weights = [ends.get(width, 0) + inner / STEPS for width in range(1, STEPS + 1)]
    assert_drawn_in_proportion(counts[1:], weights, (inner + 2) / batch_size)


@given(st.integers(2, 100), st.integers(1, 60), st.integers(0, 5), st.integers(0, 99))
def test_a_sandwich_of_two_or_more_holds_the_smallest_and_the_largest(
    batch_size, steps, inner, seed
):
    widths = Sandwich(inner)(batch_size, steps, torch.Generator().manual_seed(seed))
    assert widths[0] == 1
    assert widths[-1] == steps
    parts = min(inner + 2, batch_size)
    # The two ends and the inner ones, each with its share; inner ones may repeat an end.
    assert len(widths.unique()) <= parts
    assert min((widths == 1).sum(), (widths == steps).sum()) >= batch_size // parts


def test_a_small_sandwich_keeps_the_largest_then_the_smallest_then_random_ones(generator):
    drawn = [[Sandwich(3)(size, 64, generator).tolist() for _ in range(200)] for size in (1, 2, 3)]
    assert all(widths == [64] for widths in drawn[0])
    assert all(widths == [1, 64] for widths in drawn[1])
    assert all(widths[::2] == [1, 64] for widths in drawn[2])
    assert len({widths[1] for widths in drawn[2]}) > 40


@pytest.mark.parametrize("steps", [10, 33, 100, 1000])
@pytest.mark.parametrize("p", [0, 0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_the_tail_exponential_drops_the_share_p_on_average(p, steps):
    chances = TailExponential(p).probabilities(steps).tolist()
    kept = math.fsum(width * chance for width, chance in enumerate(chances, start=1)) / steps
    assert kept == pytest.approx(1 - p, rel=1e-9)
    assert math.fsum(chances) == pytest.approx(1)
    # One ratio between neighbours throughout: an exponential of the width.
    drawn = [chance for chance in chances if chance > 1e-290]
    ratios = [after / before for before, after in itertools.pairwise(drawn)]
    assert ratios == pytest.approx(ratios[:1] * len(ratios), rel=1e-9)


@given(st.integers(1, 2000), st.floats(0, 1))
def test_the_tail_exponential_attains_every_share_from_none_to_all_but_one_unit(steps, part):
    p = part * (1 - 1 / steps)
    chances = TailExponential(p).probabilities(steps)
    assert (chances >= 0).all()
    kept = float(chances @ torch.arange(1, steps + 1).double()) / steps
    assert kept == pytest.approx(1 - p, rel=1e-9)


def test_the_tail_exponential_of_half_the_other_widths_is_uniform():
    assert TailExponential(0.45).probabilities(10).tolist() == pytest.approx([0.1] * 10)


@pytest.mark.parametrize(("p", "steps"), [(0.001, 1000), (0.1, 10), (0.5, 33), (0.999, 4)])
def test_geometric_is_the_geometric_distribution_given_that_it_ends_within_the_steps(p, steps):
    inside = geom.cdf(steps, p)
    expected = [geom.pmf(width, p) / inside for width in range(1, steps + 1)]
    assert Geometric(p).probabilities(steps).tolist() == pytest.approx(expected, rel=1e-9)


def test_geometric_that_always_ends_keeps_one_unit():
    assert Geometric(1).probabilities(4).tolist() == [1, 0, 0, 0]


def test_log_uniform_of_nine_steps_is_the_law_of_first_digits():
    percent = [30.1, 17.6, 12.5, 9.7, 7.9, 6.7, 5.8, 5.1, 4.6]  # Benford 1938, table 1, theory
    assert (100 * LogUniform().probabilities(9)).tolist() == pytest.approx(percent, abs=0.05)


def test_octaves_share_what_the_last_of_them_has_among_fewer_widths():
    expected = [1 / 5, 1 / 5, 1 / 10, 1 / 10, *[1 / 20] * 4, *[1 / 15] * 3]
    assert Octaves().probabilities(11).tolist() == pytest.approx(expected)


def test_a_list_that_changes_later_does_not_change_the_sampler():
    widths, weights = [2, 4], [1.0, 0.0]
    sampler = Listed(widths, weights)
    widths[0], weights[0] = 9, 0.0
    assert set(sampler(20, 4).tolist()) == {2}
    assert sampler == Listed((2, 4), (1.0, 0.0))


def test_one_width_of_the_list_too_many_for_the_knob_is_named_at_every_draw():
    sampler = Listed([2, 5])
    assert set(sampler(20, 5).tolist()) == {2, 5}
    for _ in range(2):
        with pytest.raises(ValueError, match=r"widths must lie in 1..4, got 5"):
            sampler(20, 4)


@given(st.integers(1, 60), st.integers(1, 200))
def test_a_width_of_one_and_a_share_of_one_are_the_two_ends(batch_size, steps):
    assert Fixed(1)(batch_size, steps).tolist() == [1] * batch_size
    assert Fixed(steps)(batch_size, steps).tolist() == [steps] * batch_size
    assert FixedFraction(1.0)(batch_size, steps).tolist() == [steps] * batch_size
    assert Full()(batch_size, steps).tolist() == [steps] * batch_size


@given(st.floats(0, 1), st.integers(1, 200))
def test_a_fixed_fraction_is_the_nearest_position(fraction, steps):
    (width,) = FixedFraction(fraction)(1, steps).tolist()
    assert abs(width - fraction * steps) == min(
        abs(other - fraction * steps) for other in range(1, steps + 1)
    )


@given(st.integers(1, 200), st.integers(1, 60))
def test_uniform_is_balanced(batch_size, steps):
    counts = Counter(Uniform()(batch_size, steps).tolist())
    per_width = [counts[width] for width in range(1, steps + 1)]
    assert max(per_width) - min(per_width) <= 1


@given(st.integers(1, 40), st.integers(1, 5))
def test_the_triangle_repeats_each_width_equally_often_in_a_multiple_of_it(steps, times):
    expected = [width for width in range(1, steps + 1) for _ in range(times)]
    assert Triangular()(steps * times, steps).tolist() == expected


@given(st.integers(1, 100), st.integers(1, 100))
def test_the_triangle_rises_evenly_to_full_width_for_any_batch(batch_size, steps):
    expected = [math.ceil((row + 1) * steps / batch_size) for row in range(batch_size)]
    assert Triangular()(batch_size, steps).tolist() == expected


@given(st.integers(1, 8), st.integers(8, 200), st.integers(8, 64))
def test_stratified_takes_one_width_from_each_slice(runs, batch_size, steps):
    widths = Stratified(runs)(batch_size, steps).tolist()
    values = sorted(set(widths))
    assert len(values) <= runs
    for index in range(runs):
        low, high = steps * index / runs, steps * (index + 1) / runs
        assert any(low < width < high + 1 for width in values)
    if len(values) == runs:
        sizes = Counter(widths).values()
        assert max(sizes) - min(sizes) <= 1


@given(st.integers(1, 200), st.floats(0, 1))
def test_interpolated_runs_its_share_at_full_width(batch_size, share):
    # A sampler that never draws full width shows which samples the share moved.
    never_full = Weighted(lambda fraction: float(fraction < 1))
    full = int((Interpolated(never_full, share)(batch_size, 10) == 10).sum())
    assert math.floor(batch_size * share) <= full <= math.ceil(batch_size * share)


def test_an_uneven_share_holds_on_average(generator):
    sampler = Interpolated(Triangular(), 0.25)
    full = [int((sampler(2, 1000, generator) == 1000).sum()) - 1 for _ in range(4000)]
    # Of two samples 0.5 on average run full; the triangle's own last row makes it one more
    # unless both were replaced, which at a quarter never happens.
    assert sum(full) / len(full) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("diagonal", [-20, -3, -1, 0, 1, 5, 20, 2**70])
@pytest.mark.parametrize("repeats", [1, 3])
def test_a_shifted_triangle_is_the_lower_triangle_off_its_diagonal(diagonal, repeats):
    # What `tril` calls a diagonal, but for rows without any unit, which keep their first.
    triangle = torch.ones(7, 7).tril(max(-7, min(diagonal, 7))).repeat_interleave(repeats, 0)
    triangle[:, 0] = 1
    widths = Shifted(Triangular(), diagonal)(7 * repeats, 7)
    assert torch.equal(prefix_mask(widths, 7), triangle.bool())


def test_a_width_of_weight_zero_is_never_drawn(generator):
    sampler = Weighted(lambda fraction: float(0.25 < fraction <= 0.75))
    assert set(sampler(5000, 8, generator).tolist()) == {3, 4, 5, 6}
