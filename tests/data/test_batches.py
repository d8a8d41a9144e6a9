import pytest
import torch

from vsnn_lab.data.batches import FreshBatches, TensorBatches, split_validation


@pytest.mark.parametrize(("rows", "size"), [(10, 3), (12, 4), (3, 100), (1, 1)])
def test_an_epoch_holds_every_row_once_beside_its_target(rows, size):
    inputs = torch.arange(rows)
    batches = TensorBatches(inputs, -inputs, batch_size=size)
    seen = list(batches)
    assert len(seen) == len(batches)
    assert all(len(x) == size for x, _ in seen[:-1])
    assert torch.equal(torch.cat([x for x, _ in seen]).sort().values, inputs)
    assert all(torch.equal(x, -y) for x, y in seen)


def epoch_order(batches):
    return torch.cat([inputs for inputs, _ in batches]).tolist()


def test_epochs_differ_and_each_repeats_for_the_same_seed_and_epoch():
    rows = torch.arange(100)
    batches = TensorBatches(rows, rows, batch_size=7, seed=3)
    orders = [epoch_order(batches) for _ in range(3)]
    assert len({tuple(order) for order in orders}) == 3
    resumed = TensorBatches(rows, rows, batch_size=7, seed=3)
    resumed.set_epoch(2)
    assert epoch_order(resumed) == orders[2]
    resumed.set_epoch(0)
    assert [epoch_order(resumed) for _ in range(2)] == orders[:2]


def test_seeds_do_not_share_orders_at_shifted_epochs():
    rows = torch.arange(100)
    pairs = [TensorBatches(rows, rows, seed=seed) for seed in (0, 1)]
    orders = [tuple(epoch_order(batches)) for batches in pairs for _ in range(4)]
    assert len(set(orders)) == 8


def test_two_iterators_at_once_do_not_disturb_each_other():
    rows = torch.arange(20)
    first, second = TensorBatches(rows, rows, batch_size=4), TensorBatches(rows, rows, batch_size=4)
    alone = [epoch_order(first), epoch_order(first)]
    pairs = list(zip(second, second, strict=True))
    for position in (0, 1):
        assert torch.cat([pair[position][0] for pair in pairs]).tolist() == alone[position]


def test_batches_refuse_bad_arguments_by_name():
    rows = torch.arange(4)
    for batch_size in (0, -1):
        with pytest.raises(ValueError, match=f"batch_size must be at least 1, got {batch_size}"):
            TensorBatches(rows, rows, batch_size=batch_size)
    for wrong in (True, 2.0, "2"):
        with pytest.raises(TypeError, match=r"batch_size must be an integer .* got"):
            TensorBatches(rows, rows, batch_size=wrong)
    with pytest.raises(TypeError, match=r"seed must be an integer .* got True"):
        TensorBatches(rows, rows, seed=True)
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        TensorBatches(rows, rows, seed=-1)
    with pytest.raises(ValueError, match="as many rows, got 4 and 3"):
        TensorBatches(rows, rows[:3])
    with pytest.raises(ValueError, match="targets must hold at least one row"):
        TensorBatches(rows, rows[:0])
    with pytest.raises(TypeError, match="inputs must be a tensor, got list"):
        TensorBatches([1, 2], rows)
    with pytest.raises(ValueError, match="epoch must be at least 0, got -2"):
        TensorBatches(rows, rows).set_epoch(-2)


def test_validation_split_parts_the_rows_and_repeats_for_its_seed():
    rows = torch.arange(50)
    (train, train_y), (held, held_y) = split_validation(rows, -rows, 0.3, seed=5)
    assert (len(train), len(held)) == (35, 15)
    assert sorted(train.tolist() + held.tolist()) == rows.tolist()
    assert torch.equal(train, -train_y)
    assert torch.equal(held, -held_y)
    again = split_validation(rows, -rows, 0.3, seed=5)[1][0]
    other = split_validation(rows, -rows, 0.3, seed=6)[1][0]
    assert torch.equal(again, held)
    assert not torch.equal(other, held)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan"), True])
def test_validation_split_refuses_a_fraction_outside_zero_to_one(fraction):
    rows = torch.arange(50)
    with pytest.raises(ValueError, match=r"fraction must lie between 0 and 1, .*got"):
        split_validation(rows, rows, fraction)


def test_validation_split_refuses_an_empty_part():
    rows = torch.arange(5)
    with pytest.raises(ValueError, match=r"at least one row, got 0\.01 of 5 rows"):
        split_validation(rows, rows, 0.01)


def uniform_pairs(generator):
    x = torch.rand(3, 2, generator=generator)
    return x, x.sum(1)


def test_fresh_batches_never_repeat_within_a_run_and_repeat_for_the_same_seed_and_epoch():
    batches = FreshBatches(uniform_pairs, steps=4, seed=1)
    first, second = list(batches), list(batches)
    assert len(first) == len(batches) == 4
    assert len({tuple(x.flatten().tolist()) for x, _ in first + second}) == 8
    again = FreshBatches(uniform_pairs, steps=4, seed=1)
    again.set_epoch(1)
    for (x, y), (x_again, y_again) in zip(second, again, strict=True):
        assert torch.equal(x, x_again)
        assert torch.equal(y, y_again)


@pytest.mark.usefixtures("global_state_kept")
def test_no_batches_touch_torchs_global_generator():
    rows = torch.arange(10)
    list(TensorBatches(rows, rows, batch_size=4))
    list(FreshBatches(uniform_pairs, steps=2))
    split_validation(rows, rows, 0.5)


def test_fresh_batches_refuse_bad_arguments_by_name():
    with pytest.raises(TypeError, match=r"draw must be callable on a torch\.Generator, got 3"):
        FreshBatches(3, steps=1)
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        FreshBatches(uniform_pairs, steps=0)
    with pytest.raises(ValueError, match="epoch must be at least 0, got -1"):
        FreshBatches(uniform_pairs, steps=1).set_epoch(-1)
