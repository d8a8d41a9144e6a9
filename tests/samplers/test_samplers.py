import copy
import dataclasses
import math
import pickle
import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.ids import by_repr
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
from vsnn_lab.train.description import describe


def inverse(fraction):
    return 1 / fraction


# Each sampler with the fewest steps that it can draw from.
ALL = {
    Triangular(): 1,
    Fixed(1): 1,
    Fixed(7): 7,
    FixedFraction(0.3): 1,
    Full(): 1,
    Uniform(): 1,
    Stratified(4): 1,
    Weighted(inverse): 1,
    Weighted(inverse, runs=3): 1,
    LogUniform(): 1,
    LogUniform(runs=4): 1,
    Octaves(): 1,
    Octaves(runs=3): 1,
    TailExponential(0): 1,
    TailExponential(0.1, runs=4): 2,
    TailExponential(0.9): 10,
    Geometric(0.05): 1,
    Geometric(1, runs=2): 1,
    Listed((7, 2)): 7,
    Listed((1, 3, 9), weights=(0, 1, 2.5), runs=2): 9,
    Sandwich(): 1,
    Sandwich(inner=0): 1,
    Interpolated(Uniform(), 0.3): 1,
    Interpolated(Stratified(2), 1.0): 1,
    Interpolated(Sandwich(), 0.5): 1,
    Shifted(Triangular(), 3): 1,
    Shifted(Uniform(), -2): 1,
}


@pytest.mark.parametrize(("sampler", "least"), ALL.items(), ids=by_repr)
@given(batch_size=st.integers(1, 300), more=st.integers(0, 300), seed=st.integers(0, 99))
def test_widths_lie_in_range_and_equal_ones_side_by_side(sampler, least, batch_size, more, seed):
    steps = least + more
    widths = sampler(batch_size, steps, torch.Generator().manual_seed(seed))
    assert widths.dtype == torch.long
    assert widths.shape == (batch_size,)
    assert widths.min() >= 1
    assert widths.max() <= steps
    assert (widths.diff() >= 0).all()


@pytest.mark.parametrize("sampler", ALL, ids=by_repr)
@pytest.mark.usefixtures("global_state_kept")
def test_a_generator_repeats_the_draw_and_none_leaves_the_global_one_alone(sampler):
    first, second = (sampler(37, 50, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    sampler(37, 50)


@pytest.mark.parametrize("sampler", ALL, ids=by_repr)
def test_a_draw_changes_neither_the_sampler_nor_its_identity(sampler):
    before = describe(sampler), repr(sampler), dict(vars(sampler))
    first = sampler(37, 50, torch.Generator().manual_seed(3))
    assert (describe(sampler), repr(sampler), vars(sampler)) == before
    for other in (copy.deepcopy(sampler), pickle.loads(pickle.dumps(sampler))):
        assert other == sampler
        assert describe(other) == describe(sampler)
        assert torch.equal(other(37, 50, torch.Generator().manual_seed(3)), first)


def test_every_sampler_is_a_setting_of_its_own():
    assert len({repr(describe(sampler)) for sampler in ALL}) == len(ALL)


@pytest.mark.parametrize("sampler", ALL, ids=by_repr)
def test_every_sampler_is_frozen_and_refuses_an_empty_batch_and_an_empty_knob(sampler):
    with pytest.raises(dataclasses.FrozenInstanceError):
        sampler.runs = 3
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        sampler(0, 50)
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        sampler(4, 0)


@pytest.mark.parametrize("sampler", [s for s in ALL if hasattr(s, "probabilities")], ids=by_repr)
@given(batch_size=st.integers(1, 200), seed=st.integers(0, 99))
def test_every_batch_holds_each_width_about_as_often_as_its_probability(sampler, batch_size, seed):
    if sampler.runs is not None:
        sampler = dataclasses.replace(sampler, runs=batch_size)
    widths = sampler(batch_size, 12, torch.Generator().manual_seed(seed))
    counts = torch.bincount(widths, minlength=13)[1:]
    # A width covers an interval of the slices; at each of its two ends one may go either way.
    assert ((counts - batch_size * sampler.probabilities(12)).abs() < 2 + 1e-9).all()


def test_a_function_is_asked_once_for_each_number_of_steps():
    asked = []
    sampler = Weighted(lambda fraction: asked.append(fraction) or 1.0)
    for steps in (4, 8, 4, 8, 4):
        sampler(3, steps)
    assert asked == [1 / 4, 2 / 4, 3 / 4, 1, *(width / 8 for width in range(1, 9))]


def test_another_sampler_asks_the_function_again():
    keep = {"narrow": True}

    def weight(fraction):
        return float((fraction <= 0.5) == keep["narrow"])

    first = Weighted(weight)
    assert set(first(50, 2).tolist()) == {1}
    keep["narrow"] = False
    assert Weighted(weight) == first
    assert set(Weighted(weight)(50, 2).tolist()) == {2}


def test_a_function_that_cannot_be_hashed_will_do():
    @dataclasses.dataclass
    class Above:
        limit: float

        def __call__(self, fraction):
            return float(fraction > self.limit)

    assert set(Weighted(Above(0.5))(50, 2).tolist()) == {2}


def test_a_sampler_lives_no_longer_than_its_owner():
    sampler = LogUniform()
    sampler(4, 4)
    alive = weakref.ref(sampler)
    del sampler
    assert alive() is None


def test_probabilities_that_someone_changes_are_theirs_alone():
    sampler = LogUniform()
    sampler.probabilities(4).zero_()
    assert sampler.probabilities(4).sum() == pytest.approx(1)


def test_draws_without_a_generator_differ():
    assert len({tuple(Uniform()(8, 1000).tolist()) for _ in range(5)}) == 5


def test_global_draws_are_there_for_who_asks():
    torch.manual_seed(5)
    first = Uniform()(8, 1000, torch.default_generator)
    torch.manual_seed(5)
    assert torch.equal(first, Uniform()(8, 1000, torch.default_generator))


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
        (lambda: Weighted(lambda f: 0.5 - f)(2, 4), ValueError, "got -0.25 for the fraction 0.75"),
        (lambda: Weighted(lambda f: math.inf)(2, 4), ValueError, "finite weights .* got inf"),
        (lambda: Weighted(lambda f: 0)(2, 4), ValueError, "some width a weight above 0"),
        (lambda: Interpolated(Uniform(), 1.5), ValueError, r"full_fraction must lie in \[0, 1\]"),
        (lambda: Interpolated(Uniform(), "1"), TypeError, "full_fraction must be a number"),
        (lambda: Interpolated(4, 0.5), TypeError, "sampler must be a sampler, got 4"),
        (lambda: Shifted(4, 1), TypeError, "sampler must be a sampler, got 4"),
        (lambda: Shifted(Uniform(), 0.5), TypeError, "diagonal must be an integer, got 0.5"),
        (lambda: LogUniform(runs=0), ValueError, "runs must be at least 1, got 0"),
        (lambda: TailExponential(1.5), ValueError, r"p must lie in \[0, 1\], got 1.5"),
        (lambda: TailExponential("1"), TypeError, "p must be a number"),
        (lambda: TailExponential(0.5, runs=0), ValueError, "runs must be at least 1, got 0"),
        (
            lambda: TailExponential(0.95)(4, 10),
            ValueError,
            r"p must lie in \[0, 1 - 1/10\] \(up to 0.9\) at 10 steps, got 0.95; even width 1",
        ),
        (lambda: TailExponential(1)(4, 99), ValueError, r"p must lie in \[0, 1 - 1/99\]"),
        (lambda: TailExponential(0.1)(4, 1), ValueError, r"up to 0\) at 1 steps, got 0.1"),
        (lambda: Geometric(0), ValueError, r"p must lie in \(0, 1\], got 0; Uniform draws"),
        (lambda: Geometric(1.5), ValueError, r"p must lie in \[0, 1\], got 1.5"),
        (lambda: Geometric(0.5, runs=0), ValueError, "runs must be at least 1, got 0"),
        (lambda: Listed(4), TypeError, "widths must be a sequence of integers, got 4"),
        (lambda: Listed([]), ValueError, "widths must hold at least one width, got none"),
        (lambda: Listed([4, 0]), ValueError, r"widths\[1\] must be at least 1, got 0"),
        (lambda: Listed([0.5]), TypeError, r"widths\[0\] must be an integer at least 1, got 0.5"),
        (lambda: Listed([4, 8, 4]), ValueError, "widths must differ, got 4 2 times; weights set"),
        (lambda: Listed([4, 32, 64])(8, 16), ValueError, r"widths must lie in 1..16, got 32; the"),
        (lambda: Listed([4], 2), TypeError, "weights must be a sequence of numbers, got 2"),
        (lambda: Listed([4, 8], [1]), ValueError, "one for each of the 2 widths, got 1"),
        (lambda: Listed([4], ["1"]), TypeError, r"weights\[0\] must be a number, got '1'"),
        (lambda: Listed([4, 8], [1, -1]), ValueError, r"weights\[1\] must be .* negative, got -1"),
        (lambda: Listed([4], [math.nan]), ValueError, r"weights\[0\] must be finite .* got nan"),
        (lambda: Listed([4, 8], [0, 0]), ValueError, "weights must have one above 0, got none"),
        (lambda: Listed([4], runs=0), ValueError, "runs must be at least 1, got 0"),
        (lambda: Sandwich(-1), ValueError, "inner must be at least 0, got -1"),
        (lambda: Sandwich(2.0), TypeError, "inner must be an integer at least 0, got 2.0"),
        (lambda: Fixed(0), ValueError, "width must be at least 1, got 0; FixedFraction takes"),
        (lambda: Fixed(1.0), TypeError, "width must be an integer .* got 1.0 .* FixedFraction"),
        (lambda: Fixed(32)(4, 16), ValueError, r"width must lie in 1..16, got 32; FixedFraction"),
        (
            lambda: FixedFraction(8),
            ValueError,
            r"fraction must lie in \[0, 1\], got 8; Fixed takes",
        ),
        (lambda: FixedFraction("1"), TypeError, "fraction must be a number"),
    ],
)
def test_a_bad_sampler_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
