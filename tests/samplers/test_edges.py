"""What each sampler draws at the very edge of what it allows."""

import pytest
import torch

from vsnn_lab.samplers import Listed, LogUniform, TailExponential, Weighted


@pytest.mark.parametrize(
    ("make", "last"),
    [
        (LogUniform, 1.0),
        (lambda: Weighted(lambda fraction: float(fraction <= 0.5)), 0.5),
        (lambda: Weighted(lambda fraction: 1 / fraction, runs=3), 1.0),
    ],
)
def test_the_largest_random_number_draws_the_last_width_with_weight(make, last, monkeypatch):
    largest = 1 - 2**-53  # of those that torch.rand draws in float64
    monkeypatch.setattr(
        "vsnn_lab.samplers.draws.random_numbers",
        lambda count, generator: torch.full((count,), largest, dtype=torch.float64),
    )
    sampler = make()
    for steps in range(2, 300, 2):
        assert int(sampler(7, steps)[-1]) == last * steps


def test_the_smallest_random_number_draws_no_width_without_weight(monkeypatch):
    monkeypatch.setattr(
        "vsnn_lab.samplers.draws.random_numbers",
        lambda count, generator: torch.zeros(count, dtype=torch.float64),
    )
    assert Weighted(lambda fraction: float(fraction > 0.5))(1, 8).tolist() == [5]
    # Half of the weight lies on 2, so that the second slice begins where 2 ends.
    assert Listed([2, 4], runs=2)(4, 4).tolist() == [2, 2, 4, 4]


def test_a_width_listed_once_and_a_weight_of_zero_are_allowed():
    assert Listed([3]).probabilities(3).tolist() == [0, 0, 1]
    assert Listed([1, 2], weights=[0, 4]).probabilities(2).tolist() == [0, 1]
    assert Weighted(lambda fraction: fraction - 0.5).probabilities(2).tolist() == [0, 1]


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 49, 1000])
def test_the_tail_exponential_of_the_largest_p_keeps_one_unit_and_of_none_all(steps):
    least, most = (TailExponential(p).probabilities(steps) for p in (1 - 1 / steps, 0))
    assert least.tolist() == pytest.approx([1, *[0] * (steps - 1)])
    assert most.tolist() == [*[0] * (steps - 1), 1]


def test_the_tail_exponential_forgives_p_an_error_of_rounding_and_no_more():
    forgiven = 1e-12  # of the full width
    assert TailExponential(forgiven).probabilities(1).tolist() == [1]
    with pytest.raises(ValueError, match=r"got 1\.5e-12; even width 1 keeps 1/1"):
        TailExponential(1.5 * forgiven).probabilities(1)
