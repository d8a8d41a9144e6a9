import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from vsnn_lab import Interpolated, Stratified, Triangular, Uniform, Weighted


def inverse(fraction):
    return 1 / fraction


ALL = [
    Triangular(),
    Uniform(),
    Stratified(4),
    Weighted(inverse),
    Weighted(inverse, runs=3),
    Interpolated(Uniform(), 0.3),
    Interpolated(Stratified(2), 1.0),
]


@pytest.mark.parametrize("sampler", ALL, ids=repr)
@given(batch_size=st.integers(1, 300), steps=st.integers(1, 300), seed=st.integers(0, 99))
def test_widths_lie_in_range_and_equal_ones_side_by_side(sampler, batch_size, steps, seed):
    widths = sampler(batch_size, steps, torch.Generator().manual_seed(seed))
    assert widths.dtype == torch.long
    assert widths.shape == (batch_size,)
    assert widths.min() >= 1
    assert widths.max() <= steps
    assert (widths.diff() >= 0).all()


@pytest.mark.parametrize("sampler", ALL, ids=repr)
@pytest.mark.usefixtures("global_state_kept")
def test_a_generator_repeats_the_draw_and_none_leaves_the_global_one_alone(sampler):
    first, second = (sampler(37, 50, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    sampler(37, 50)


def test_draws_without_a_generator_differ():
    assert len({tuple(Uniform()(8, 1000).tolist()) for _ in range(5)}) == 5


def test_global_draws_are_there_for_who_asks():
    torch.manual_seed(5)
    first = Uniform()(8, 1000, torch.default_generator)
    torch.manual_seed(5)
    assert torch.equal(first, Uniform()(8, 1000, torch.default_generator))


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
    ],
)
def test_the_distribution_is_the_one_it_states(sampler, weight, batch_size, generator):
    steps, draws = 16, 100_000
    counts = torch.zeros(steps + 1)
    for _ in range(draws // batch_size // 10 if batch_size == 1 else draws // batch_size):
        counts += torch.bincount(sampler(batch_size, steps, generator), minlength=steps + 1)
    total = sum(weight(width) for width in range(1, steps + 1))
    expected = [counts.sum() * weight(width) / total for width in range(1, steps + 1)]
    # Samples of one run share a width, so the number of independent draws is that of the runs.
    runs = min(getattr(sampler, "runs", None) or batch_size, batch_size)
    shrink = runs / batch_size
    assert chisquare(counts[1:] * shrink, [e * shrink for e in expected]).pvalue > 1e-3


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


def test_a_width_of_weight_zero_is_never_drawn(generator):
    sampler = Weighted(lambda fraction: float(0.25 < fraction <= 0.75))
    assert set(sampler(5000, 8, generator).tolist()) == {3, 4, 5, 6}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Uniform()(0, 4), ValueError, "batch_size must be at least 1, got 0"),
        (lambda: Triangular()(4, 0), ValueError, "steps must be at least 1, got 0"),
        (lambda: Uniform()(2.0, 4), TypeError, r"batch_size must be an integer"),
        (lambda: Stratified(0), ValueError, "runs must be at least 1, got 0"),
        (lambda: Weighted(3), TypeError, "fn must be callable on a fraction"),
        (lambda: Weighted(inverse, runs=0), ValueError, "runs must be at least 1, got 0"),
        (lambda: Weighted(lambda f: -f)(2, 4), ValueError, "not negative, got -0.25 for the"),
        (lambda: Weighted(lambda f: math.inf)(2, 4), ValueError, "finite weights .* got inf"),
        (lambda: Weighted(lambda f: 0)(2, 4), ValueError, "some width a weight above 0"),
        (lambda: Interpolated(Uniform(), 1.5), ValueError, r"full_fraction must lie in \[0, 1\]"),
        (lambda: Interpolated(Uniform(), "1"), TypeError, "full_fraction must be a number"),
        (lambda: Interpolated(4, 0.5), TypeError, "sampler must be a sampler, got 4"),
    ],
)
def test_a_bad_sampler_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
